#include "kernels/ops/expert_gemm/pack.h"

#include <cstring>

#include "kernels/ops/expert_gemm/fragment_order.h"
#include "sim/base/check.h"

namespace moecast::kernels {
namespace {

constexpr int kLanes = 32;
constexpr int kStepColumns = 32;
constexpr int kValues = 8;  // of a lane in one half of a step

// Where value v of half h of a lane stands in a 16 x 32 tile.
int RowOf(int lane, int v) { return lane / 4 + v / 2 % 2 * 8; }
int ColumnOf(int lane, int half, int v) { return lane % 4 * 8 + half * 4 + v / 4 * 2 + v % 2; }

// Calls put(lane, half, v, row, column) for all 512 places of a step.
template <class Put>
void ForEachPlace(Put put) {
  for (int lane = 0; lane < kLanes; ++lane) {
    for (int half = 0; half < 2; ++half) {
      for (int v = 0; v < kValues; ++v) put(lane, half, v, RowOf(lane, v), ColumnOf(lane, half, v));
    }
  }
}

struct Corner {
  int64_t row;
  int64_t column;
};

uint16_t CodeAt(const QuantisedMatrix& m, const Corner& corner, int row, int column) {
  return m.codes[static_cast<size_t>((corner.row + row) * m.columns + corner.column + column)];
}

void StoreBf16(uint8_t* to, uint16_t bits) { std::memcpy(to, &bits, sizeof(bits)); }

// The codes of the step at `corner`.
void PackStep(const QuantisedMatrix& m, const Corner& corner, uint8_t* out) {
  ForEachPlace([&](int lane, int half, int v, int row, int column) {
    const uint16_t code = CodeAt(m, corner, row, column);
    if (m.format == WeightFormat::kBf16) {
      StoreBf16(out + ((half * kLanes + lane) * kValues + v) * 2, code);
    } else if (IsFp8(m.format)) {
      out[lane * 2 * kValues + half * kValues + v] = static_cast<uint8_t>(code);
    } else {  // `out` is the start of the lane's words for this step
      const int nibble = v / 2 + v % 2 * 4;
      uint8_t& byte = out[lane * 16 + half * 4 + nibble / 2];
      byte = static_cast<uint8_t>(byte | code << (nibble % 2 * 4));
    }
  });
}

// The scales of a 4-bit block at `corner`.
void PackScales(const QuantisedMatrix& m, const Corner& corner, uint8_t* out) {
  const int group_columns = GroupColumns(m.format);
  const int groups = BlockColumns(m.format) / group_columns;
  const int64_t groups_of_row = m.columns / group_columns;
  for (int g = 0; g < kFragmentRows / 2; ++g) {
    for (int group = 0; group < groups; ++group) {
      for (int half = 0; half < 2; ++half) {
        const int64_t row = corner.row + g + half * kFragmentRows / 2;
        const int64_t column = corner.column / group_columns + group;
        const float scale = m.scales[static_cast<size_t>(row * groups_of_row + column)];
        StoreBf16(out + ((g * groups + group) * 2 + half) * 2, Bf16Of(static_cast<double>(scale)));
      }
    }
  }
}

void PackBlock(const QuantisedMatrix& m, const Corner& corner, uint8_t* out) {
  const int columns = BlockColumns(m.format);
  for (int step = 0; step < columns / kStepColumns; ++step) {
    // Two steps of 4-bit codes share a lane's 16 bytes.
    uint8_t* const codes = IsInt4(m.format) ? out + step / 2 * 512 + step % 2 * 8 : out;
    PackStep(m, {corner.row, corner.column + step * kStepColumns}, codes);
  }
  if (IsInt4(m.format)) PackScales(m, corner, out + kFragmentRows * columns / 2);
}

void PackTile(const QuantisedMatrix& m, int64_t first_row, uint8_t* out) {
  const int columns = BlockColumns(m.format);
  for (int64_t column = 0; column < m.columns; column += columns)
    PackBlock(m, {first_row, column}, out + column / columns * BlockBytes(m.format));
}

}  // namespace

std::vector<uint8_t> Pack(const QuantisedMatrix& matrix) {
  SIM_CHECK(matrix.rows % kFragmentRows == 0 && matrix.columns % BlockColumns(matrix.format) == 0);
  std::vector<uint8_t> packed(
      static_cast<size_t>(PackedBytes(matrix.format, matrix.rows, matrix.columns)));
  const int64_t tile_bytes = PackedBytes(matrix.format, kFragmentRows, matrix.columns);
  for (int64_t row = 0; row < matrix.rows; row += kFragmentRows)
    PackTile(matrix, row, packed.data() + row / kFragmentRows * tile_bytes);
  return packed;
}

std::vector<uint8_t> PackGateUp(const QuantisedMatrix& gate, const QuantisedMatrix& up) {
  SIM_CHECK(gate.format == up.format && gate.rows == up.rows && gate.columns == up.columns);
  const std::vector<uint8_t> of_gate = Pack(gate);
  const std::vector<uint8_t> of_up = Pack(up);
  const auto tile = PackedBytes(gate.format, kFragmentRows, gate.columns);
  std::vector<uint8_t> packed;
  packed.reserve(of_gate.size() * 2);
  for (auto at = of_gate.begin(); at != of_gate.end(); at += tile) {
    const auto same = of_up.begin() + (at - of_gate.begin());
    packed.insert(packed.end(), at, at + tile);
    packed.insert(packed.end(), same, same + tile);
  }
  return packed;
}

void PackBf16(const uint16_t* row_major, int64_t rows, int64_t columns, uint16_t* packed) {
  QuantisedMatrix matrix{
      .format = WeightFormat::kBf16, .rows = rows, .columns = columns, .codes = {}, .scales = {}};
  matrix.codes.assign(row_major, row_major + rows * columns);
  const std::vector<uint8_t> bytes = Pack(matrix);
  std::memcpy(packed, bytes.data(), bytes.size());
}

}  // namespace moecast::kernels
