// Lowering: a StepShape on a model and a parallelism becomes the ops of one GPU, in execution
// order. Equal layers are lowered once and carry a count; the expert work of all MoE layers is one
// op that sees every layer's own histogram. docs/model/shapes.md has the shapes and their sources.
#pragma once

#include <cstdint>
#include <vector>

#include "sim/model/kv_plan.h"
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
  /// REQUIRES: CheckParallelism(model, parallelism) passed; `model` outlives this object.
  Lowering(const ModelSpec& model, const Parallelism& parallelism, KvPlan kv);

  /// Replaces `ops` with the ops of `step` on a GPU whose attention group carries `load`, one of
  /// step.attention. Ops with no work are left out. Spans point into step.experts.
  /// REQUIRES: step.experts holds moe_layers * expert entries.
  /// COST: no allocation once `ops` has grown; O(op classes), independent of layers and experts.
  void Lower(const StepShape& step, const AttentionLoad& load, std::vector<CountedOp>& ops) const;
  /// The same in three parts, each appended to `ops`. What comes before and after the cache is
  /// alike in all steps of equal rows, logit rows and selection, but for the loads of experts.
  void LowerBeforeCache(const StepShape& step, std::vector<CountedOp>& ops) const;
  /// The ops whose work differs between attention groups of one step: attention over the cache, its
  /// latent projections and the cache append.
  void LowerCache(const StepShape& step, const AttentionLoad& load,
                  std::vector<CountedOp>& ops) const;
  void LowerAfterCache(const StepShape& step, std::vector<CountedOp>& ops) const;

 private:
  enum class Phase { kPrefill, kDecode };

  void LowerConversion(int64_t tokens, std::vector<CountedOp>& ops) const;
  /// New tokens of `layers`, and those that leave a window for narrower codes.
  void LowerWrites(const KvSplit& split, const KvLayerClass& layers, int64_t query_elements,
                   const KvLayout& layout, std::vector<CountedOp>& ops) const;
  void LowerSelection(const AttentionLoad& load, int64_t heads, int64_t layers,
                      std::vector<CountedOp>& ops) const;
  void LowerMlaWrites(const AttentionLoad& load, const MlaAttention& a,
                      std::vector<CountedOp>& ops) const;
  /// Cached latents of chunks' pasts and the chunks' own become rows of activations.
  void LowerMlaPast(const AttentionLoad& load, std::vector<CountedOp>& ops) const;
  void LowerMlaAttention(const AttentionLoad& load, const MlaAttention& a, Phase phase,
                         std::vector<CountedOp>& ops) const;
  [[nodiscard]] KvLayout LatentLayout(const KvLayerClass& layers, const MlaAttention& a) const;
  void LowerGqaCache(const AttentionLoad& load, const GqaAttention& a,
                     std::vector<CountedOp>& ops) const;
  void LowerMlaCache(const StepShape& step, const AttentionLoad& load, const MlaAttention& a,
                     std::vector<CountedOp>& ops) const;
  /// A product of activations and a weight of attention: [rows, k] x [k, n].
  [[nodiscard]] Gemm AttentionGemm(GemmRole role, int64_t rows, int64_t n, int64_t k) const;
  void LowerProjections(int64_t rows, std::vector<CountedOp>& ops) const;
  void LowerGqaProjections(int64_t rows, const GqaAttention& a, std::vector<CountedOp>& ops) const;
  void LowerMlaProjections(int64_t rows, const MlaAttention& a, std::vector<CountedOp>& ops) const;
  void LowerLinearAttention(const StepShape& step, const AttentionLoad& load,
                            std::vector<CountedOp>& ops) const;
  void LowerDenseFeedForward(int64_t rows, std::vector<CountedOp>& ops) const;
  void LowerMoe(const StepShape& step, std::vector<CountedOp>& ops) const;
  void LowerMoeCollectives(const StepShape& step, std::vector<CountedOp>& ops) const;
  void LowerHead(const StepShape& step, std::vector<CountedOp>& ops) const;

  /// Bytes of `rows` rows of `width` activations.
  [[nodiscard]] double ActivationBytes(int64_t rows, int64_t width) const;

  const ModelSpec* model_;
  Parallelism parallelism_;
  KvPlan kv_;
  KvElements kv_elements_;
  double activation_bytes_;  // per element
  int64_t full_layers_;
  int64_t window_layers_;
  int64_t linear_layers_;
  int64_t moe_layers_;
  int64_t dense_layers_;
};

}  // namespace moecast
