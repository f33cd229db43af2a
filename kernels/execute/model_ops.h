// ModelOps: the launches of one step of a model, op by op and layer by layer, in the order and
// under the names in which the simulator lowers it.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "kernels/execute/activations.h"
#include "kernels/execute/dense_products.h"
#include "kernels/execute/kv_pools.h"
#include "kernels/execute/model_weights.h"
#include "kernels/execute/step_form.h"
#include "kernels/harness/stream.h"

namespace moecast::kernels {

/// Layer of what a step does once.
inline constexpr int32_t kOutsideLayers = -1;

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

  /// Whether the last step's logits are all numbers. COST: copies them.
  [[nodiscard]] bool LogitsAreNumbers(const StepForm& form) const;

 private:
  void AddAttention(const StepForm& form, size_t layer, std::vector<StepOp>& ops);
  void AddRotation(const StepForm& form, size_t layer, std::vector<StepOp>& ops);
  void AddCache(const StepForm& form, size_t layer, std::vector<StepOp>& ops);
  void AddPrefillAttention(const StepForm& form, size_t layer, std::vector<StepOp>& ops);
  void AddDecodeAttention(const StepForm& form, size_t layer, std::vector<StepOp>& ops);
  void AddDenseBlock(const StepForm& form, size_t layer, std::vector<StepOp>& ops);
  void AddMoe(const StepForm& form, size_t layer, std::vector<StepOp>& ops);
  void AddExperts(const StepForm& form, size_t layer, std::vector<StepOp>& ops);
  void AddHead(const StepForm& form, std::vector<StepOp>& ops);
  void AddProduct(std::string_view op, size_t layer, const DenseOperands& operands,
                  std::vector<StepOp>& ops);
  void AddNorm(size_t layer, const StepForm& form, const __nv_bfloat16* weight,
               std::vector<StepOp>& ops);
  [[nodiscard]] AttendShape DecodeShape(const StepForm& form) const;
  [[nodiscard]] ExpertShape ExpertShapeOf(const StepForm& form) const;
  /// The layer's part of the routing image. `layer` counts MoE layers.
  [[nodiscard]] RouteBuffers RoutingOf(const StepForm& form, size_t moe_layer) const;

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
  StepInputs inputs_;
  RoutingImage image_;
};

}  // namespace moecast::kernels
