#include "kernels/bench/layer_bench.h"

#include <algorithm>
#include <cmath>

#include "kernels/bench/drawn_slots.h"
#include "kernels/bench/fill.h"
#include "kernels/ops/expert_gemm/naive.h"
#include "kernels/ops/route/reference.h"
#include "sim/base/check.h"

namespace moecast::kernels {
namespace {

constexpr int kMaxCopies = 8;
// Standard deviation of the router's logits on random tokens: scores as uneven as a trained
// router's, so that threshold rules skip some and keep some.
constexpr double kLogitDeviation = 1.5;
constexpr float kWeightScale = 0.05F;
// Twice any L2: routers of other launches push one out before its next turn.
constexpr double kRouterBytes = 128e6;
constexpr int kMaxRouters = 16 * kRoutings;
// In a step the op before has just written the tokens: no more of them rotate than L2 holds.
constexpr double kWarmTokenBytes = 16e6;

size_t Slots(const ExpertShape& shape) {
  return static_cast<size_t>(shape.tokens) * static_cast<size_t>(shape.top_k);
}
size_t RouterElements(const ExpertShape& shape) {
  const int padded = (shape.experts + kFragmentRows - 1) / kFragmentRows * kFragmentRows;
  return static_cast<size_t>(padded) * static_cast<size_t>(shape.hidden);
}
int Routers(const ExpertShape& shape) {
  const double bytes = static_cast<double>(RouterElements(shape)) * sizeof(__nv_bfloat16);
  const int rings = static_cast<int>(std::ceil(kRouterBytes / bytes / kRoutings));
  return std::clamp(rings * kRoutings, kRoutings, kMaxRouters);
}
int TokenSets(const ExpertShape& shape) {
  const double bytes = static_cast<double>(shape.tokens) * shape.hidden * sizeof(__nv_bfloat16);
  return std::clamp(static_cast<int>(kWarmTokenBytes / bytes), 1, kRoutings);
}
// Stored bytes of all experts' down projections; gate and up take twice that.
size_t DownBytes(const ExpertShape& shape, WeightFormat format) {
  return static_cast<size_t>(shape.experts) *
         static_cast<size_t>(PackedBytes(format, shape.hidden, shape.intermediate));
}
// fp8 scales of gate and up, the larger of the two products' arrays.
size_t Scales(const ExpertShape& shape, WeightFormat format) {
  const int block = format == WeightFormat::kFp8Block ? kFp8BlockSize : 1 << 20;
  const auto blocks = [block](int size) { return static_cast<size_t>((size + block - 1) / block); };
  return 2 * static_cast<size_t>(shape.experts) * blocks(shape.hidden) * blocks(shape.intermediate);
}
// Uniform values in [-1, 1) have variance 1/3, on both sides of the product.
float RouterScale(const ExpertShape& shape) {
  return static_cast<float>(3 * kLogitDeviation / std::sqrt(static_cast<double>(shape.hidden)));
}

// Offsets of a given load: [D + 1].
std::vector<int32_t> OffsetsOf(const GivenLoad& load) {
  const int32_t total = load.distinct * load.rows_per_expert;
  const int32_t hot = load.spread == Spread::kHot ? total / 2 : 0;
  std::vector<int32_t> offsets{0};
  const int32_t others = load.spread == Spread::kHot ? load.distinct - 1 : load.distinct;
  if (hot > 0) offsets.push_back(hot);
  for (int32_t i = 1; i <= others; ++i) {
    const auto share = static_cast<int64_t>(total - hot) * i / others;
    offsets.push_back(hot + static_cast<int32_t>(share));
  }
  return offsets;
}

}  // namespace

WeightPool::WeightPool(const ExpertShape& shape, double budget_bytes, const Stream& stream,
                       WeightFormat format)
    : format_(format),
      router_elements_(RouterElements(shape)),
      down_bytes_(DownBytes(shape, format)),
      copies_(static_cast<int>(std::clamp<double>(
          budget_bytes / (3 * static_cast<double>(down_bytes_)), 1, kMaxCopies))),
      routers_(Routers(shape)),
      router_(router_elements_ * static_cast<size_t>(routers_)),
      gate_up_(2 * down_bytes_ * static_cast<size_t>(copies_)),
      down_(down_bytes_ * static_cast<size_t>(copies_)),
      scales_(Scales(shape, format)) {
  const size_t ring = router_elements_ * kRoutings;
  FillUniform(router_.data(), ring, RouterScale(shape), 1, stream.get());
  for (size_t first = ring; first < router_.size(); first += ring) {
    CUDA_CHECK(cudaMemcpyAsync(router_.data() + first, router_.data(),
                               ring * sizeof(*router_.data()), cudaMemcpyDeviceToDevice,
                               stream.get()));
  }
  FillCodes(scales_.data(), scales_.size() * sizeof(float), 7, stream.get());
  if (format != WeightFormat::kBf16) {
    FillCodes(gate_up_.data(), gate_up_.size(), 2, stream.get());
    FillCodes(down_.data(), down_.size(), 3, stream.get());
    return;
  }
  const auto fill = [&](const DeviceBuffer<uint8_t>& buffer, uint64_t seed) {
    FillUniform(reinterpret_cast<__nv_bfloat16*>(buffer.data()),
                buffer.size() / sizeof(__nv_bfloat16), kWeightScale, seed, stream.get());
  };
  fill(gate_up_, 2);
  fill(down_, 3);
}

StoredExperts WeightPool::experts(int launch) const {
  const auto copy = static_cast<size_t>(launch % copies_);
  return {.format = format_,
          .gate_up = gate_up_.data() + copy * 2 * down_bytes_,
          .down = down_.data() + copy * down_bytes_,
          .gate_up_scale = scales_.data(),
          .down_scale = scales_.data()};
}
const __nv_bfloat16* WeightPool::gate_up(int launch) const {
  return static_cast<const __nv_bfloat16*>(experts(launch).gate_up);
}
const __nv_bfloat16* WeightPool::down(int launch) const {
  return static_cast<const __nv_bfloat16*>(experts(launch).down);
}
const __nv_bfloat16* WeightPool::router(int launch) const {
  return router_.data() + static_cast<size_t>(launch % routers_) * router_elements_;
}

LayerBench::LayerBench(const ExpertShape& shape, const WeightPool& weights, const Stream& stream,
                       const ScoreRule& router, bool biased)
    : shape_(shape),
      router_(router),
      weights_(weights),
      stream_(stream),
      token_sets_(TokenSets(shape)),
      partial_logits_(PartialLogits(shape)),
      weight_of_slot_(kRoutings * ::moecast::kernels::Slots(shape)),
      slots_(size_t{3} * kRoutings * ::moecast::kernels::Slots(shape)),
      experts_(kRoutings * (2 * static_cast<size_t>(shape.experts) + 2)),
      bias_(biased ? static_cast<size_t>(shape.experts) : 0),
      tokens_(static_cast<size_t>(token_sets_) * static_cast<size_t>(shape.tokens) *
              static_cast<size_t>(shape.hidden)),
      act_(::moecast::kernels::Slots(shape) * static_cast<size_t>(shape.intermediate)),
      y_(::moecast::kernels::Slots(shape) * static_cast<size_t>(shape.hidden)),
      handoff_(static_cast<size_t>(shape.experts) + 1),
      out_(static_cast<size_t>(shape.tokens) * static_cast<size_t>(shape.hidden)) {
  SIM_CHECK(shape.tokens <= kMaxTokens);
  if (biased) bias_.Zero();
  handoff_.Zero();
  FillUniform(tokens_.data(), tokens_.size(), 1.0F, 4, stream.get());
  FillUniform(act_.data(), act_.size(), 1.0F, 5, stream.get());
  FillUniform(y_.data(), y_.size(), 1.0F, 6, stream.get());
  stream.Synchronize();
}

RouteBuffers LayerBench::Buffers(int launch) const {
  const auto routing = static_cast<size_t>(launch % kRoutings);
  const size_t slots = ::moecast::kernels::Slots(shape_);
  const auto experts = static_cast<size_t>(shape_.experts);
  int32_t* const of_slots = slots_.data() + routing * 3 * slots;
  int32_t* const of_experts = experts_.data() + routing * (2 * experts + 2);
  return {.partial_logits = partial_logits_.data(),
          .expert_of_slot = of_slots,
          .weight_of_slot = weight_of_slot_.data() + routing * slots,
          .position_of_slot = of_slots + slots,
          .active_experts = of_experts,
          .active_count = of_experts + experts,
          .offsets = of_experts + experts + 1,
          .slot_token = of_slots + 2 * slots};
}

ExpertSlots LayerBench::Slots(int launch) const {
  const RouteBuffers buffers = Buffers(launch);
  return {.active_experts = buffers.active_experts,
          .active_count = buffers.active_count,
          .offsets = buffers.offsets,
          .slot_token = buffers.slot_token};
}

const __nv_bfloat16* LayerBench::Tokens(int launch) const {
  return tokens_.data() + static_cast<size_t>(launch % kRoutings % token_sets_) *
                              static_cast<size_t>(shape_.tokens) *
                              static_cast<size_t>(shape_.hidden);
}

void LayerBench::Route(const SkipRule& rule, int launch, const BatchRule& batch) const {
  kernels::Route(shape_, {.score = router_, .batch = batch, .skip = rule}, Tokens(launch),
                 weights_.router(launch), bias_.data(), Buffers(launch), stream_.get());
}
void LayerBench::GateUp(int launch) const {
  GateUpSwiGlu(shape_, Slots(launch), weights_.experts(launch), Tokens(launch), act_.data(),
               stream_.get());
}
void LayerBench::Down(int launch) const {
  kernels::Down(shape_, Slots(launch), weights_.experts(launch), act_.data(), y_.data(),
                stream_.get());
}
void LayerBench::Experts(int launch) const {
  kernels::Experts(shape_, Slots(launch), weights_.experts(launch), Tokens(launch), act_.data(),
                   y_.data(), handoff_.data(), stream_.get());
}
void LayerBench::ExpertsNaive(int launch) const {
  naive::GateUpSwiGlu(shape_, Slots(launch), Tokens(launch), weights_.gate_up(launch), act_.data(),
                      stream_.get());
  naive::Down(shape_, Slots(launch), act_.data(), weights_.down(launch), y_.data(), stream_.get());
}
void LayerBench::Combine(int launch) const {
  kernels::Combine(shape_, Buffers(launch), y_.data(), out_.data(), stream_.get());
}
void LayerBench::Layer(const SkipRule& rule, int launch) const {
  Route(rule, launch);
  Experts(launch);
  Combine(launch);
}

void LayerBench::PrepareRouted(const SkipRule& rule, const BatchRule& batch) {
  for (int launch = 0; launch < kRoutings; ++launch) Route(rule, launch, batch);
  stream_.Synchronize();
  ReadLoads();
}

void LayerBench::PrepareGiven(const GivenLoad& load) {
  const std::vector<int32_t> offsets = OffsetsOf(load);
  const int32_t rows = offsets.back();
  SIM_CHECK(load.distinct <= shape_.experts);
  SIM_CHECK(static_cast<size_t>(rows) <= ::moecast::kernels::Slots(shape_));
  std::vector<int32_t> slot_token(static_cast<size_t>(rows));
  for (int32_t row = 0; row < rows; ++row) {
    slot_token[static_cast<size_t>(row)] = row % shape_.tokens;
  }
  std::vector<int32_t> active(static_cast<size_t>(load.distinct));
  for (int launch = 0; launch < kRoutings; ++launch) {
    for (int32_t i = 0; i < load.distinct; ++i) {
      active[static_cast<size_t>(i)] = (launch * load.distinct + i) % shape_.experts;
    }
    WriteRouting(launch, active, offsets, slot_token);
  }
  ReadLoads();
}

void LayerBench::PrepareZipf(double exponent, int32_t kept) {
  for (int launch = 0; launch < kRoutings; ++launch) {
    const reference::Alignment rows = reference::Align(
        shape_, DrawZipfSlots(shape_, exponent, kept, static_cast<uint64_t>(launch)));
    WriteRouting(launch, rows.active_experts, rows.offsets, rows.slot_token);
  }
  ReadLoads();
}

void LayerBench::WriteRouting(int launch, const std::vector<int32_t>& active,
                              const std::vector<int32_t>& offsets,
                              const std::vector<int32_t>& slot_token) {
  const auto copy = [](int32_t* to, const std::vector<int32_t>& from) {
    CUDA_CHECK(cudaMemcpy(to, from.data(), from.size() * sizeof(int32_t), cudaMemcpyHostToDevice));
  };
  const RouteBuffers buffers = Buffers(launch);
  copy(buffers.active_experts, active);
  copy(buffers.active_count, {static_cast<int32_t>(active.size())});
  copy(buffers.offsets, offsets);
  copy(buffers.slot_token, slot_token);
}

void LayerBench::ReadLoads() {
  const std::vector<int32_t> all = experts_.ToHost();
  const auto experts = static_cast<size_t>(shape_.experts);
  loads_.clear();
  active_experts_.clear();
  for (size_t routing = 0; routing < kRoutings; ++routing) {
    const int32_t* const active = all.data() + routing * (2 * experts + 2);
    const auto distinct = static_cast<size_t>(active[experts]);
    const int32_t* const offsets = active + experts + 1;
    loads_.push_back(LoadOf({offsets, distinct + 1}));
    active_experts_.emplace_back(active, active + distinct);
  }
}

ExpertLoad LayerBench::LoadOfLaunches(int launches) const {
  SIM_CHECK(launches <= kRoutings || launches % kRoutings == 0);
  return MeanLoad(std::span(loads_).first(static_cast<size_t>(std::min(launches, kRoutings))));
}

double LayerBench::WarmRatioOf(int launches, double bytes_per_expert, double l2_bytes) const {
  std::vector<TouchedWeights> ring;
  for (int launch = 0; launch < launches; ++launch) {
    TouchedWeights touched;
    for (const int32_t expert : active_experts_[static_cast<size_t>(launch % kRoutings)])
      touched.push_back(static_cast<int64_t>(launch % weights_.copies()) * shape_.experts + expert);
    ring.push_back(std::move(touched));
  }
  return WarmRatio(ring, bytes_per_expert, l2_bytes);
}

}  // namespace moecast::kernels
