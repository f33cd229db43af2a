#include "sim/model/lower.h"

#include <utility>

#include "sim/base/check.h"

namespace moecast {
namespace {

/// SwiGLU reads gate and up and writes their product: elements moved per intermediate element.
constexpr int64_t kSwigluReads = 2;
constexpr int64_t kSwigluWrites = 1;
/// Fused residual add and norm: reads and writes both the residual stream and the branch.
constexpr int64_t kNormTensors = 2 + 2;
/// Norms of one layer: before attention and before the feed-forward block.
constexpr int64_t kNormsPerLayer = 2;

}  // namespace

Lowering::Lowering(const ModelSpec& model, const Parallelism& parallelism, KvPlan kv)
    : model_(&model),
      parallelism_(parallelism),
      kv_(std::move(kv)),
      kv_elements_(KvElementsOf(model, parallelism.tensor)),
      activation_bytes_(model.formats.activations.bytes_per_element()),
      full_layers_(model.attention_layer_count(AttentionKind::kFull)),
      window_layers_(model.attention_layer_count(AttentionKind::kSlidingWindow)),
      linear_layers_(model.attention_layer_count(AttentionKind::kLinear)),
      moe_layers_(model.moe_layer_count()),
      dense_layers_(model.layer_count() - moe_layers_) {}

double Lowering::ActivationBytes(int64_t rows, int64_t width) const {
  return static_cast<double>(rows) * static_cast<double>(width) * activation_bytes_;
}

void Lowering::Lower(const StepShape& step, const AttentionLoad& load,
                     std::vector<CountedOp>& ops) const {
  ops.clear();
  if (step.rows_per_group == 0) return;
  LowerBeforeCache(step, ops);
  LowerCache(step, load, ops);
  LowerAfterCache(step, ops);
}

void Lowering::LowerBeforeCache(const StepShape& step, std::vector<CountedOp>& ops) const {
  const int64_t rows = step.rows_per_group;
  ops.push_back({.op = Elementwise{.role = ElementwiseRole::kEmbedding,
                                   .rows = rows,
                                   .bytes_per_row = ActivationBytes(2, model_->hidden)}});
  if (parallelism_.tensor > 1) {  // the embedding table is split over the vocabulary
    ops.push_back({.op = Collective{.kind = CollectiveKind::kAllReduce,
                                    .ranks = parallelism_.tensor,
                                    .bytes = ActivationBytes(rows, model_->hidden)}});
  }
  ops.push_back({.op = Elementwise{.role = ElementwiseRole::kNorm,
                                   .rows = rows,
                                   .bytes_per_row = ActivationBytes(kNormTensors, model_->hidden)},
                 .count = kNormsPerLayer * model_->layer_count() + 1});
  LowerProjections(rows, ops);
}

void Lowering::LowerAfterCache(const StepShape& step, std::vector<CountedOp>& ops) const {
  const int64_t rows = step.rows_per_group;
  if (parallelism_.tensor > 1) {  // attention output
    ops.push_back({.op = Collective{.kind = CollectiveKind::kAllReduce,
                                    .ranks = parallelism_.tensor,
                                    .bytes = ActivationBytes(rows, model_->hidden)},
                   .count = model_->layer_count()});
  }
  if (dense_layers_ > 0) LowerDenseFeedForward(rows, ops);
  if (moe_layers_ > 0) LowerMoe(step, ops);
  for (const ExtraOperation& extra : model_->extras) {
    const int64_t count = Executions(*model_, extra);
    if (count > 0) {
      ops.push_back({.op = ExtraWork{.rows = rows, .what = &extra}, .count = count});
    }
  }
  if (step.logit_rows_per_group > 0) LowerHead(step, ops);
}

void Lowering::LowerDenseFeedForward(int64_t rows, std::vector<CountedOp>& ops) const {
  const int64_t width = model_->dense_intermediate / parallelism_.tensor;
  const TensorFormat* format = &model_->formats.dense_ffn;
  ops.push_back({.op = Gemm{.role = GemmRole::kDenseGateUp,
                            .rows = rows,
                            .n = 2 * width,
                            .k = model_->hidden,
                            .format = format,
                            .activation_bytes = activation_bytes_,
                            .read = model_->reads.dense_ffn},
                 .count = dense_layers_});
  ops.push_back(
      {.op = Elementwise{.role = ElementwiseRole::kActivation,
                         .rows = rows,
                         .bytes_per_row = ActivationBytes(kSwigluReads + kSwigluWrites, width)},
       .count = dense_layers_});
  ops.push_back({.op = Gemm{.role = GemmRole::kDenseDown,
                            .rows = rows,
                            .n = model_->hidden,
                            .k = width,
                            .format = format,
                            .activation_bytes = activation_bytes_,
                            .read = model_->reads.dense_ffn},
                 .count = dense_layers_});
  if (parallelism_.tensor > 1) {
    ops.push_back({.op = Collective{.kind = CollectiveKind::kAllReduce,
                                    .ranks = parallelism_.tensor,
                                    .bytes = ActivationBytes(rows, model_->hidden)},
                   .count = dense_layers_});
  }
}

void Lowering::LowerMoe(const StepShape& step, std::vector<CountedOp>& ops) const {
  const MoeSpec& moe = *model_->moe;
  const int64_t rows = step.rows_per_group;
  SIM_CHECK(static_cast<int64_t>(step.experts.size()) == moe_layers_ * parallelism_.expert);
  const auto gemm = [&](GemmRole role, int64_t n, int64_t k) {
    const bool router = role == GemmRole::kRouter;
    const WeightFormats& formats = model_->formats;
    ops.push_back(
        {.op = Gemm{.role = role,
                    .rows = rows,
                    .n = n,
                    .k = k,
                    .format = router ? &formats.activations : &formats.of_shared_experts(),
                    .activation_bytes = activation_bytes_,
                    .read = router ? WeightRead{} : model_->reads.dense_ffn},
         .count = moe_layers_});
  };
  gemm(GemmRole::kRouter, moe.experts * moe.router_matrices, model_->hidden);
  ops.push_back({.op = RouteTokens{.rows = rows,
                                   .experts = moe.experts,
                                   .top_k = moe.top_k,
                                   .selection = step.selection},
                 .count = moe_layers_});
  if (moe.shared_intermediate > 0) {
    const int64_t width = moe.shared_intermediate / parallelism_.tensor;
    gemm(GemmRole::kSharedGateUp, 2 * width, model_->hidden);
    ops.push_back(
        {.op = Elementwise{.role = ElementwiseRole::kActivation,
                           .rows = rows,
                           .bytes_per_row = ActivationBytes(kSwigluReads + kSwigluWrites, width)},
         .count = moe_layers_});
    gemm(GemmRole::kSharedDown, model_->hidden, width);
  }
  ops.push_back(
      {.op =
           ExpertGemm{.loads = step.experts,
                      .ranks = parallelism_.expert,
                      .tokens_replicated = parallelism_.data == 1,
                      .hidden = model_->hidden,
                      .intermediate = moe.expert_intermediate / parallelism_.expert_tensor(),
                      .format = &model_->formats.experts,
                      .activation_bytes = activation_bytes_,
                      .read = model_->reads.experts,
                      .inner_router_width = moe.inner_router_width,
                      .mixed_format = model_->formats.mix ? &model_->formats.mix->format : nullptr},
       .count = moe_layers_});
  if (parallelism_.gpus() > 1) LowerMoeCollectives(step, ops);
}

void Lowering::LowerMoeCollectives(const StepShape& step, std::vector<CountedOp>& ops) const {
  const int64_t rows = step.rows_per_group;
  const int64_t gpus = parallelism_.gpus();
  const int64_t tensor = parallelism_.tensor;
  const double group_bytes = ActivationBytes(rows, model_->hidden);
  const double shard_bytes = group_bytes / static_cast<double>(tensor);
  const auto collective = [&](CollectiveKind kind, int64_t ranks, double bytes) {
    ops.push_back(
        {.op = Collective{.kind = kind, .ranks = ranks, .bytes = bytes}, .count = moe_layers_});
  };
  if (parallelism_.data == 1) {  // every GPU already has every token: one sum of partial outputs
    collective(CollectiveKind::kAllReduce, tensor, group_bytes);
    return;
  }
  if (tensor > 1 && model_->moe->shared_intermediate > 0) {
    collective(CollectiveKind::kReduceScatter, tensor,
               group_bytes);  // shared experts' partial sums
  }
  if (parallelism_.expert > 1) {
    const double all_rows = static_cast<double>(rows * parallelism_.data);
    ops.push_back({.op = ExpertExchange{.loads = step.experts,
                                        .ranks = parallelism_.expert,
                                        .gpus = gpus,
                                        .row_cap = all_rows,
                                        .bytes_per_row = ActivationBytes(1, model_->hidden)},
                   .count = 2 * moe_layers_});  // dispatch and combine
  } else {
    collective(CollectiveKind::kAllGather, gpus, shard_bytes);
    collective(CollectiveKind::kReduceScatter, gpus,
               group_bytes * static_cast<double>(parallelism_.data));
  }
  if (tensor > 1) collective(CollectiveKind::kAllGather, tensor, shard_bytes);
}

void Lowering::LowerHead(const StepShape& step, std::vector<CountedOp>& ops) const {
  const int64_t rows = step.logit_rows_per_group;
  const int64_t tensor = parallelism_.tensor;
  const int64_t shard = (model_->vocabulary + tensor - 1) / tensor;
  ops.push_back({.op = Gemm{.role = GemmRole::kLmHead,
                            .rows = rows,
                            .n = shard,
                            .k = model_->hidden,
                            .format = &model_->formats.of_lm_head(),
                            .activation_bytes = activation_bytes_}});
  if (tensor > 1) {
    ops.push_back({.op = Collective{.kind = CollectiveKind::kAllGather,
                                    .ranks = tensor,
                                    .bytes = ActivationBytes(rows, shard)}});
  }
  ops.push_back({.op = Elementwise{.role = ElementwiseRole::kSampling,
                                   .rows = rows,
                                   .bytes_per_row = static_cast<double>(model_->vocabulary) *
                                                    static_cast<double>(sizeof(float))}});
}

}  // namespace moecast
