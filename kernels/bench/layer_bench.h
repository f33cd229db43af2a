// LayerBench: the device buffers of one MoE layer and its launches, rotated so that a launch finds
// its weights outside the caches. A launch's number picks its copy of the weights, its tokens and
// its routing.
#pragma once

#include <cuda_bf16.h>

#include <cstdint>
#include <vector>

#include "kernels/harness/device_buffer.h"
#include "kernels/harness/expert_load.h"
#include "kernels/harness/stream.h"
#include "kernels/ops/expert_gemm/expert_gemm.h"
#include "kernels/ops/route/route.h"

namespace moecast::kernels {

/// Routings kept apart; launch r uses routing r % kRoutings.
inline constexpr int kRoutings = 16;

/// Copies of one layer's expert weights, as many as `budget_bytes` holds, at least one, at most 8;
/// and of kRoutings routers as many rings as push one out of any L2 before its next turn.
/// REQUIRES: Streams(format, shape).
class WeightPool {
 public:
  WeightPool(const ExpertShape& shape, double budget_bytes, const Stream& stream,
             WeightFormat format = WeightFormat::kBf16);

  [[nodiscard]] int copies() const { return copies_; }
  /// A multiple of kRoutings: launches that differ by it have equal routers at other addresses.
  [[nodiscard]] int routers() const { return routers_; }
  [[nodiscard]] WeightFormat format() const { return format_; }
  [[nodiscard]] StoredExperts experts(int launch) const;
  [[nodiscard]] const __nv_bfloat16* gate_up(int launch) const;  // REQUIRES: bf16
  [[nodiscard]] const __nv_bfloat16* down(int launch) const;     // REQUIRES: bf16
  [[nodiscard]] const __nv_bfloat16* router(int launch) const;

 private:
  WeightFormat format_;
  size_t router_elements_;
  size_t down_bytes_;  // of all experts
  int copies_;
  int routers_;
  DeviceBuffer<__nv_bfloat16> router_;
  DeviceBuffer<uint8_t> gate_up_;
  DeviceBuffer<uint8_t> down_;
  DeviceBuffer<float> scales_;  // enough for the scales of either product
};

/// How slots are spread when they are given instead of routed.
enum class Spread {
  kEven,  // every active expert has the same load
  kHot,   // one expert has half of all slots, the others share the rest
};

struct GivenLoad {
  int32_t distinct = 1;           // D
  int32_t rows_per_expert = 1;    // A / D
  Spread spread = Spread::kEven;  // REQUIRES: distinct > 1 for kHot
};

class LayerBench {
 public:
  /// `shape.tokens` is the number of tokens of every launch; `router` with a bias of zeros if
  /// `biased`.
  LayerBench(const ExpertShape& shape, const WeightPool& weights, const Stream& stream,
             const ScoreRule& router = {}, bool biased = false);

  /// Routes every routing once, so that products can be timed alone and the loads are known.
  void PrepareRouted(const SkipRule& rule, const BatchRule& batch = {});
  /// Writes the given load, on expert subsets that follow each other through all experts.
  void PrepareGiven(const GivenLoad& load);
  /// Writes slots of DrawZipfSlots, every routing another draw.
  void PrepareZipf(double exponent, int32_t kept);

  // Enqueue one launch. Those after Route read the routing of the same launch number.
  void Route(const SkipRule& rule, int launch, const BatchRule& batch = {}) const;
  void GateUp(int launch) const;
  void Down(int launch) const;
  /// Gate-up and down in one launch.
  void Experts(int launch) const;
  /// The naive products, one after the other. REQUIRES: bf16.
  void ExpertsNaive(int launch) const;
  void Combine(int launch) const;
  /// Router to combine.
  void Layer(const SkipRule& rule, int launch) const;

  [[nodiscard]] const ExpertShape& shape() const { return shape_; }
  /// Buffers, tokens and router weights of one launch, for ops that have no method here.
  [[nodiscard]] RouteBuffers Buffers(int launch) const;
  [[nodiscard]] const __nv_bfloat16* Tokens(int launch) const;
  [[nodiscard]] const WeightPool& weights() const { return weights_; }
  /// Mean over launches 0 to `launches` - 1.
  /// REQUIRES: at most kRoutings of them, or a multiple of it.
  [[nodiscard]] ExpertLoad LoadOfLaunches(int launches) const;
  /// Part of the weight reads that a cache of `l2_bytes` may serve when `launches` repeat, see
  /// WarmRatio.
  [[nodiscard]] double WarmRatioOf(int launches, double bytes_per_expert, double l2_bytes) const;

 private:
  void WriteRouting(int launch, const std::vector<int32_t>& active,
                    const std::vector<int32_t>& offsets, const std::vector<int32_t>& slot_token);
  void ReadLoads();
  [[nodiscard]] ExpertSlots Slots(int launch) const;

  ExpertShape shape_;
  ScoreRule router_;
  const WeightPool& weights_;
  const Stream& stream_;
  int token_sets_;
  std::vector<ExpertLoad> loads_;                     // [kRoutings]
  std::vector<std::vector<int32_t>> active_experts_;  // [kRoutings][D]
  DeviceBuffer<float> partial_logits_;                // shared: launches follow each other
  DeviceBuffer<float> weight_of_slot_;                // [kRoutings][T * k]
  DeviceBuffer<int32_t> slots_;                       // [kRoutings][3 * T * k]
  DeviceBuffer<int32_t> experts_;                     // [kRoutings][2 * E + 2]
  DeviceBuffer<float> bias_;                          // [E], or empty
  DeviceBuffer<__nv_bfloat16> tokens_;                // [token sets][T, H]
  DeviceBuffer<__nv_bfloat16> act_;                   // [T * k, I]
  DeviceBuffer<__nv_bfloat16> y_;                     // [T * k, H]
  DeviceBuffer<uint32_t> handoff_;                    // [E + 1]
  DeviceBuffer<__nv_bfloat16> out_;                   // [T, H]
};

}  // namespace moecast::kernels
