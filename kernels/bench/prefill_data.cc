#include "kernels/bench/prefill_data.h"

#include <cstring>

#include "kernels/ops/expert_gemm/quantise.h"
#include "kernels/ops/expert_prefill/pack.h"

namespace moecast::kernels {
namespace {

constexpr double kWeightScale = 0.2;

QuantisedMatrix Draw(WeightFormat format, int64_t rows, int64_t columns, RngStream& rng) {
  Eigen::MatrixXd values(rows, columns);
  for (Eigen::Index r = 0; r < rows; ++r) {
    for (Eigen::Index c = 0; c < columns; ++c)
      values(r, c) = kWeightScale * (2 * rng.NextUniform() - 1);
  }
  return Quantise(format, values);
}

// What the products multiply with: 4-bit codes times their scales are rounded to bf16 once.
Eigen::MatrixXd Multiplied(const QuantisedMatrix& matrix) {
  const Eigen::MatrixXd values = Values(matrix);
  if (!IsInt4(matrix.format)) return values;
  return values.unaryExpr([](double value) { return ValueOfBf16(Bf16Of(value)); });
}

template <class T>
void Append(std::vector<uint8_t>& bytes, const std::vector<T>& values) {
  const size_t before = bytes.size();
  bytes.resize(before + values.size() * sizeof(T));
  std::memcpy(bytes.data() + before, values.data(), values.size() * sizeof(T));
}

// One matrix of one expert on its way to the device.
struct StoredMatrix {
  std::vector<uint8_t> codes;
  std::vector<uint8_t> scales;
};

// Row tiles of 16 of both matrices in turn.
template <class T>
std::vector<T> Interleaved(const std::vector<T>& gate, const std::vector<T>& up, int64_t columns) {
  std::vector<T> rows;
  const auto tile = static_cast<std::ptrdiff_t>(kFragmentRows * columns);
  for (std::ptrdiff_t at = 0; at < static_cast<std::ptrdiff_t>(gate.size()); at += tile) {
    rows.insert(rows.end(), gate.begin() + at, gate.begin() + at + tile);
    rows.insert(rows.end(), up.begin() + at, up.begin() + at + tile);
  }
  return rows;
}

StoredMatrix StoreInt4(const std::vector<uint16_t>& codes, const std::vector<float>& scales,
                       int64_t rows, int64_t columns) {
  const std::vector<uint8_t> narrow(codes.begin(), codes.end());
  std::vector<uint16_t> bits;
  for (const float scale : scales) bits.push_back(Bf16Of(static_cast<double>(scale)));
  StoredMatrix stored;
  Append(stored.codes, PackInt4Codes(narrow, rows, columns));
  Append(stored.scales, PackInt4Scales(bits, rows, static_cast<int64_t>(scales.size()) / rows));
  return stored;
}

StoredMatrix Store(const QuantisedMatrix& matrix) {
  if (IsInt4(matrix.format))
    return StoreInt4(matrix.codes, matrix.scales, matrix.rows, matrix.columns);
  StoredMatrix stored;
  if (IsFp8(matrix.format)) {
    stored.codes.assign(matrix.codes.begin(), matrix.codes.end());
  } else {
    Append(stored.codes, matrix.codes);
  }
  Append(stored.scales, matrix.scales);
  return stored;
}

StoredMatrix StoreGateUp(const QuantisedMatrix& gate, const QuantisedMatrix& up) {
  if (IsInt4(gate.format)) {
    const int64_t groups = gate.columns / GroupColumns(gate.format);
    return StoreInt4(Interleaved(gate.codes, up.codes, gate.columns),
                     Interleaved(gate.scales, up.scales, groups), 2 * gate.rows, gate.columns);
  }
  StoredMatrix stored = Store(gate);
  const StoredMatrix second = Store(up);
  Append(stored.codes, second.codes);
  Append(stored.scales, second.scales);
  return stored;
}

DeviceBuffer<uint8_t> ToDevice(const std::vector<uint8_t>& bytes) {
  return DeviceBuffer<uint8_t>(std::span<const uint8_t>(bytes));
}

}  // namespace

PrefillLayer DrawPrefillLayer(const ExpertShape& shape, WeightFormat format, RngStream& rng) {
  PrefillLayer layer;
  StoredMatrix gate_up;
  StoredMatrix down;
  for (int32_t expert = 0; expert < shape.experts; ++expert) {
    const QuantisedMatrix gate = Draw(format, shape.intermediate, shape.hidden, rng);
    const QuantisedMatrix up = Draw(format, shape.intermediate, shape.hidden, rng);
    const QuantisedMatrix out = Draw(format, shape.hidden, shape.intermediate, rng);
    layer.exact.push_back(
        {.gate = Multiplied(gate), .up = Multiplied(up), .down = Multiplied(out)});
    const StoredMatrix first = StoreGateUp(gate, up);
    const StoredMatrix second = Store(out);
    Append(gate_up.codes, first.codes);
    Append(gate_up.scales, first.scales);
    Append(down.codes, second.codes);
    Append(down.scales, second.scales);
  }
  layer.gate_up = ToDevice(gate_up.codes);
  layer.gate_up_scale = ToDevice(gate_up.scales);
  layer.down = ToDevice(down.codes);
  layer.down_scale = ToDevice(down.scales);
  return layer;
}

PrefillRowBuffers::PrefillRowBuffers(WeightFormat row_format, int32_t row_count,
                                     int32_t column_count, float row_scale)
    : format(row_format),
      rows(row_count),
      columns(column_count),
      static_scale(row_scale),
      values(static_cast<size_t>(row_count) * static_cast<size_t>(column_count) *
             static_cast<size_t>(IsFp8(row_format) ? 1 : 2)),
      block_scale(row_format == WeightFormat::kFp8Block
                      ? static_cast<size_t>((column_count + kFp8BlockSize - 1) / kFp8BlockSize) *
                            static_cast<size_t>(row_count)
                      : 0) {
  values.Poison();
  if (block_scale.size() > 0) block_scale.Poison();
}

}  // namespace moecast::kernels
