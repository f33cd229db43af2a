// Lowering: a StepShape on a model and a parallelism becomes the ops of one rank, in execution order.
// Equal layers are lowered once and carry a count; MoE expert work is one op per MoE layer, because
// every layer has its own histogram.
#pragma once

#include <cstdint>
#include <vector>

#include "sim/model/model_spec.h"
#include "sim/model/op.h"
#include "sim/model/parallelism.h"
#include "sim/model/step_shape.h"

namespace moecast {

/// An op and how many times the step runs it.
struct CountedOp {
  Op op;
  int64_t count = 1;
};

/// Lowers steps of one replica. Holds what does not change from step to step.
class Lowering {
 public:
  /// REQUIRES: CheckParallelism(model, parallelism) passed; `model` and `kv` outlive this object.
  Lowering(const ModelSpec& model, const Parallelism& parallelism, const TensorFormat& kv);

  /// Replaces `ops` with the ops of `step`. Spans in ExpertGemm point into step.experts.
  /// COST: no allocation once `ops` has grown; O(op classes + MoE layers).
  void Lower(const StepShape& step, std::vector<CountedOp>& ops) const;

 private:
  void LowerAttention(const StepShape& step, std::vector<CountedOp>& ops) const;
  void LowerFeedForward(const StepShape& step, std::vector<CountedOp>& ops) const;
  void LowerHead(const StepShape& step, std::vector<CountedOp>& ops) const;

  const ModelSpec* model_;
  Parallelism parallelism_;
  TensorFormat kv_;
  int64_t full_layers_ = 0;
  int64_t window_layers_ = 0;
  int64_t linear_layers_ = 0;
  int64_t dense_layers_ = 0;
  int64_t moe_layers_ = 0;
};

}  // namespace moecast
