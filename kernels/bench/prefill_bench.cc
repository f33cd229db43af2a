#include "kernels/bench/prefill_bench.h"

#include <algorithm>
#include <cmath>

#include "kernels/bench/drawn_slots.h"
#include "kernels/bench/fill.h"
#include "kernels/bench/prefill_fill.h"
#include "kernels/ops/route/reference.h"

namespace moecast::kernels {
namespace {

constexpr float kWeightScale = 0.05F;
// A code of half of e4m3's range stands for about kWeightScale.
constexpr float kCodeScale = kWeightScale / 128;
constexpr float kInt4Scale = kWeightScale / kInt4Zero;
constexpr double kLogitDeviation = 1.5;  // of the router on random tokens, as the other suites

size_t Count(int64_t value) { return static_cast<size_t>(value); }

int64_t Blocks(int64_t columns) { return (columns + kFp8BlockSize - 1) / kFp8BlockSize; }

int64_t Weights(const ExpertShape& shape) {
  return int64_t{shape.experts} * shape.hidden * shape.intermediate;
}

size_t CodeBytes(WeightFormat format, int64_t weights) {
  if (IsInt4(format)) return Count(weights / 2);
  return Count(weights) * (IsFp8(format) ? 1 : 2);
}

// Bytes of the scales of `matrices` matrices of [rows, columns].
size_t ScaleBytes(WeightFormat format, int64_t matrices, int64_t rows, int64_t columns) {
  switch (format) {
    case WeightFormat::kBf16:
      return 0;
    case WeightFormat::kFp8:
      return Count(matrices) * sizeof(float);
    case WeightFormat::kFp8Block:
      return Count(matrices * Blocks(rows) * Blocks(columns)) * sizeof(float);
    case WeightFormat::kInt4G32:
    case WeightFormat::kInt4G128:
      return Count(matrices * rows * (columns / GroupColumns(format))) * 2;
  }
  return 0;
}

void FillWeights(WeightFormat format, const DeviceBuffer<uint8_t>& codes,
                 const DeviceBuffer<uint8_t>& scales, uint64_t seed, cudaStream_t stream) {
  if (format == WeightFormat::kBf16) {
    FillUniform(reinterpret_cast<__nv_bfloat16*>(codes.data()), codes.size() / 2, kWeightScale,
                seed, stream);
  } else if (IsFp8(format)) {
    FillE4m3(codes.data(), codes.size(), seed, stream);
    FillScales(reinterpret_cast<float*>(scales.data()), scales.size() / sizeof(float), kCodeScale,
               seed, stream);
  } else {
    FillBytes(codes.data(), codes.size(), seed, stream);
    FillUniform(reinterpret_cast<__nv_bfloat16*>(scales.data()), scales.size() / 2, kInt4Scale,
                seed, stream);
  }
}

double RowBytes(WeightFormat format, double columns) {
  if (format == WeightFormat::kFp8) return columns;
  if (format == WeightFormat::kFp8Block) return columns * (1 + 4.0 / kFp8BlockSize);
  return 2 * columns;
}

}  // namespace

PrefillWeightPool::PrefillWeightPool(const ModelShape& model, WeightFormat format,
                                     const Stream& stream)
    : model_(model),
      format_(format),
      gate_up_(CodeBytes(format, 2 * Weights(model.shape))),
      down_(CodeBytes(format, Weights(model.shape))),
      gate_up_scale_(ScaleBytes(format, int64_t{2} * model.shape.experts, model.shape.intermediate,
                                model.shape.hidden)),
      down_scale_(
          ScaleBytes(format, model.shape.experts, model.shape.hidden, model.shape.intermediate)),
      router_(Count((int64_t{model.shape.experts} + kFragmentRows - 1) / kFragmentRows *
                    kFragmentRows) *
              Count(model.shape.hidden)),
      bias_(model.biased ? Count(model.shape.experts) : 0) {
  FillWeights(format, gate_up_, gate_up_scale_, 2, stream.get());
  FillWeights(format, down_, down_scale_, 3, stream.get());
  // Uniform values in [-1, 1) have variance 1/3, on both sides of the product.
  FillUniform(router_.data(), router_.size(),
              static_cast<float>(3 * kLogitDeviation / std::sqrt(model.shape.hidden)), 1,
              stream.get());
  if (model.biased) bias_.Zero();
}

PrefillWeights PrefillWeightPool::view() const {
  return {.format = format_,
          .gate_up = gate_up_.data(),
          .down = down_.data(),
          .gate_up_scale = gate_up_scale_.data(),
          .down_scale = down_scale_.data()};
}

PrefillBench::PrefillBench(const PrefillWeightPool& weights, int32_t tokens, const Stream& stream)
    : weights_(weights), stream_(stream), shape_(weights.model().shape) {
  shape_.tokens = tokens;
  const int64_t slots = int64_t{tokens} * shape_.top_k;
  const int64_t element = IsFp8(format()) ? 1 : 2;
  const bool blocks = format() == WeightFormat::kFp8Block;
  partial_logits_ = DeviceBuffer<float>(PartialLogits(shape_));
  weight_of_slot_ = DeviceBuffer<float>(Count(slots));
  slots_ = DeviceBuffer<int32_t>(Count(3 * slots));
  experts_ = DeviceBuffer<int32_t>(Count(2 * int64_t{shape_.experts} + 2));
  tokens_ = DeviceBuffer<__nv_bfloat16>(Count(int64_t{tokens} * shape_.hidden));
  x_ = DeviceBuffer<uint8_t>(Count(slots * shape_.hidden * element));
  act_ = DeviceBuffer<uint8_t>(Count(slots * shape_.intermediate * element));
  x_scale_ = DeviceBuffer<float>(blocks ? Count(slots * Blocks(shape_.hidden)) : 0);
  act_scale_ = DeviceBuffer<float>(blocks ? Count(slots * Blocks(shape_.intermediate)) : 0);
  y_ = DeviceBuffer<__nv_bfloat16>(Count(slots * shape_.hidden));
  out_ = DeviceBuffer<__nv_bfloat16>(Count(int64_t{tokens} * shape_.hidden));
  FillUniform(tokens_.data(), tokens_.size(), 1.0F, 4, stream.get());
  stream.Synchronize();
}

RouteBuffers PrefillBench::Buffers() const {
  const size_t slots = weight_of_slot_.size();
  const auto experts = Count(shape_.experts);
  return {.partial_logits = partial_logits_.data(),
          .expert_of_slot = slots_.data(),
          .weight_of_slot = weight_of_slot_.data(),
          .position_of_slot = slots_.data() + slots,
          .active_experts = experts_.data(),
          .active_count = experts_.data() + experts,
          .offsets = experts_.data() + experts + 1,
          .slot_token = slots_.data() + 2 * slots};
}

ExpertSlots PrefillBench::Slots() const {
  const RouteBuffers buffers = Buffers();
  return {.active_experts = buffers.active_experts,
          .active_count = buffers.active_count,
          .offsets = buffers.offsets,
          .slot_token = buffers.slot_token};
}

PrefillRows PrefillBench::Rows(const DeviceBuffer<uint8_t>& values,
                               const DeviceBuffer<float>& scales) const {
  return {.values = values.data(), .block_scale = scales.data(), .static_scale = 1 / kE4m3Max};
}

void PrefillBench::PrepareRouted(const SkipRule& rule) {
  rule_ = {.score = weights_.model().router, .batch = {}, .skip = rule};
  Route();
  Permute();
  GateUp();
  ReadLoad();
}

void PrefillBench::PrepareZipf(double exponent, int32_t kept) {
  const reference::Alignment rows =
      reference::Align(shape_, DrawZipfSlots(shape_, exponent, kept, 1));
  const auto distinct = static_cast<int32_t>(rows.active_experts.size());
  const RouteBuffers buffers = Buffers();
  const auto copy = [](int32_t* to, const std::vector<int32_t>& from) {
    CUDA_CHECK(cudaMemcpy(to, from.data(), from.size() * sizeof(int32_t), cudaMemcpyHostToDevice));
  };
  copy(buffers.active_experts, rows.active_experts);
  copy(buffers.active_count, {distinct});
  copy(buffers.offsets, rows.offsets);
  copy(buffers.slot_token, rows.slot_token);
  copy(buffers.position_of_slot, rows.position_of_slot);
  Permute();
  GateUp();
  ReadLoad();
}

void PrefillBench::ReadLoad() {
  stream_.Synchronize();
  const std::vector<int32_t> all = experts_.ToHost();
  const auto experts = Count(shape_.experts);
  const auto distinct = Count(all[experts]);
  const int32_t* const offsets = all.data() + experts + 1;
  load_ = LoadOf({offsets, distinct + 1});
  load_.padded_rows = 0;
  for (size_t i = 0; i < distinct; ++i) {
    const int32_t tiles = (offsets[i + 1] - offsets[i] + kPrefillTileRows - 1) / kPrefillTileRows;
    load_.padded_rows += tiles * kPrefillTileRows;
  }
}

double PrefillBench::weight_bytes() const {
  return load_.distinct * 3 * shape_.hidden * shape_.intermediate * BytesPerWeight(format());
}

void PrefillBench::Route() const {
  kernels::Route(shape_, rule_, tokens_.data(), weights_.router(), weights_.bias(), Buffers(),
                 stream_.get());
}
void PrefillBench::Permute() const {
  PermuteTokens(shape_, format(), Buffers().position_of_slot, tokens_.data(), Rows(x_, x_scale_),
                stream_.get());
}
void PrefillBench::GateUp() const {
  PrefillGateUp(shape_, Slots(), weights_.view(), Rows(x_, x_scale_), Rows(act_, act_scale_),
                stream_.get());
}
void PrefillBench::Down() const {
  PrefillDown(shape_, Slots(), weights_.view(), Rows(act_, act_scale_), y_.data(), stream_.get());
}
void PrefillBench::Combine() const {
  kernels::Combine(shape_, Buffers(), y_.data(), out_.data(), stream_.get());
}
void PrefillBench::NaiveGateUp() const {
  NaivePrefillGateUp(shape_, Slots(), weights_.view(), Rows(x_, x_scale_), Rows(act_, act_scale_),
                     stream_.get());
}
void PrefillBench::NaiveDown() const {
  NaivePrefillDown(shape_, Slots(), weights_.view(), Rows(act_, act_scale_), y_.data(),
                   stream_.get());
}
void PrefillBench::Layer() const {
  Route();
  Permute();
  GateUp();
  Down();
  Combine();
}

Traffic PermuteTraffic(const ExpertShape& shape, const ExpertLoad& load, WeightFormat format) {
  constexpr double kPositionBytes = 4;
  return {.bytes = shape.tokens * (2.0 * shape.hidden + kPositionBytes * shape.top_k) +
                   load.assignments * RowBytes(format, shape.hidden),
          .flops = 0};
}

Traffic PrefillGateUpTraffic(const ExpertShape& shape, const ExpertLoad& load,
                             WeightFormat format) {
  const double weights = 2.0 * shape.hidden * shape.intermediate;
  return {.bytes = load.distinct * weights * BytesPerWeight(format) +
                   load.assignments *
                       (RowBytes(format, shape.hidden) + RowBytes(format, shape.intermediate)),
          .flops = 2 * load.assignments * weights};
}

Traffic PrefillDownTraffic(const ExpertShape& shape, const ExpertLoad& load, WeightFormat format) {
  const double weights = 1.0 * shape.hidden * shape.intermediate;
  return {.bytes = load.distinct * weights * BytesPerWeight(format) +
                   load.assignments * (RowBytes(format, shape.intermediate) + 2.0 * shape.hidden),
          .flops = 2 * load.assignments * weights};
}

Traffic PrefillLayerTraffic(const ExpertShape& shape, const ExpertLoad& load, WeightFormat format) {
  return RouteTraffic(shape) + PermuteTraffic(shape, load, format) +
         PrefillGateUpTraffic(shape, load, format) + PrefillDownTraffic(shape, load, format) +
         CombineTraffic(shape, load);
}

}  // namespace moecast::kernels
