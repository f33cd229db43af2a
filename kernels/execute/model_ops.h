// ModelOps: a model on the GPU, and the launches of one step of it, as step_plan.h orders them.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string_view>
#include <utility>
#include <vector>

#include "kernels/execute/activations.h"
#include "kernels/execute/dense_products.h"
#include "kernels/execute/kv_pools.h"
#include "kernels/execute/latent_glue.h"
#include "kernels/execute/model_weights.h"
#include "kernels/execute/step_form.h"
#include "kernels/execute/step_plan.h"
#include "kernels/harness/stream.h"
#include "kernels/ops/attend_prefill/attend_prefill.h"

namespace moecast::kernels {

struct StepOp {
  std::string_view op;  // as the simulator's OpName
  int32_t layer = kOutsideLayers;
  std::function<void()> launch;  // on the executor's stream
};

class ModelOps {
 public:
  /// ERRORS: CudaError for a model without kernels, or without memory for it.
  ModelOps(const ExecutorRequest& request, const Stream& stream);

  /// Gives the step its pages and copies its inputs. RETURNS: its form. ERRORS: CudaError.
  StepForm Prepare(const StepRun& run);
  /// The launches of a form. Chooses algorithms of dense products that are new, so not while a
  /// graph is captured.
  std::vector<StepOp> Of(const StepForm& form);

  /// Of the last step that ran: [logit_rows][vocabulary]. COST: copies them.
  [[nodiscard]] std::vector<float> Logits(const StepForm& form) const;

 private:
  using Enqueue = std::function<void()>;
  [[nodiscard]] Enqueue EnqueueOf(const PlannedOp& planned, const StepForm& form);

  // Outside of attention and experts.
  [[nodiscard]] Enqueue Small(const PlannedOp& planned, const StepForm& form);
  [[nodiscard]] Enqueue Norm(const StepForm& form, const __nv_bfloat16* weight);
  [[nodiscard]] Enqueue Product(const DenseOperands& operands);
  [[nodiscard]] DenseOperands OperandsOf(const PlannedOp& planned, const StepForm& form) const;
  [[nodiscard]] bool IsMoe(size_t layer) const;
  [[nodiscard]] int32_t FeedForwardWidth(size_t layer) const;  // of a dense block, shared experts

  [[nodiscard]] Enqueue Attention(const PlannedOp& planned, const StepForm& form);
  [[nodiscard]] Enqueue RopeOf(const StepForm& form);
  [[nodiscard]] Enqueue Rotate(const StepForm& form);
  [[nodiscard]] Enqueue Append(const StepForm& form, size_t layer);
  [[nodiscard]] Enqueue Pack(const StepForm& form, size_t layer);
  [[nodiscard]] Enqueue Decode(const StepForm& form, size_t layer);
  [[nodiscard]] Enqueue Prefill(const StepForm& form, size_t layer);

  [[nodiscard]] Enqueue LatentAttention(const PlannedOp& planned, const StepForm& form);
  [[nodiscard]] Enqueue LatentRope(const StepForm& form);
  [[nodiscard]] Enqueue LatentWrite(const StepForm& form, size_t layer, bool chunks);
  [[nodiscard]] Enqueue LatentDecode(const StepForm& form, size_t layer);
  [[nodiscard]] Enqueue LatentPrefill(const StepForm& form);
  [[nodiscard]] Enqueue GatherPast(const StepForm& form, size_t layer);
  [[nodiscard]] Enqueue Expand(const PlannedOp& planned, const StepForm& form);
  [[nodiscard]] Enqueue Assemble(const StepForm& form);
  [[nodiscard]] Enqueue AbsorbQuery(const PlannedOp& planned);
  [[nodiscard]] Enqueue AbsorbValue(const PlannedOp& planned);
  [[nodiscard]] LatentRows ContextOf(const StepForm& form) const;
  [[nodiscard]] HeadWidths LatentHeads() const;

  [[nodiscard]] Enqueue Experts(const StepForm& form, size_t layer);
  /// By trying, once per 64 rows and experts per row. `kept`: slots of a layer.
  bool ComputeBoundIsFaster(const StepForm& form, int64_t kept);
  [[nodiscard]] double TimeExperts(StepForm form, bool compute_bound);  // us
  [[nodiscard]] Enqueue RouteOf(const StepForm& form, size_t layer);
  [[nodiscard]] ExpertShape ExpertShapeOf(const StepForm& form) const;
  /// The layer's part of the routing image. `moe_layer` counts MoE layers.
  [[nodiscard]] RouteBuffers RoutingOf(const StepForm& form, size_t moe_layer) const;

  void GrowExpandedPast(const StepForm& form);
  [[nodiscard]] AttendPrefillShape PrefillShape(const StepForm& form) const;
  [[nodiscard]] int32_t WindowOf(size_t layer) const;
  [[nodiscard]] float SoftmaxScale() const;

  ModelSpec model_;
  AttentionWidths widths_;
  const Stream& stream_;
  ModelWeights weights_;
  DenseProducts products_;
  Activations act_;
  KvPools pools_;
  FormLimits limits_;
  DeviceBuffer<float> rope_table_;
  DeviceBuffer<__nv_bfloat16> hadamard_;  // of a rotated scheme
  DeviceBuffer<uint32_t> prefill_counters_;
  DeviceBuffer<uint8_t> expanded_past_;  // of chunks over pages; grows
  StepInputs inputs_;
  RoutingImage image_;
  std::map<std::pair<int32_t, int64_t>, bool> compute_bound_;  // by 64 rows, experts per row
};

}  // namespace moecast::kernels
