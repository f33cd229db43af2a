#include "kernels/execute/model_ops.h"

#include <algorithm>
#include <bit>

#include "kernels/execute/glue.h"
#include "kernels/ops/attend_prefill/attend_prefill.h"
#include "kernels/ops/norm/norm.h"
#include "kernels/ops/rope/rope_table.h"
#include "sim/base/check.h"
#include "sim/model/computed_rows.h"

namespace moecast::kernels {
namespace {

/// Rows up to which the memory-bound expert products are the faster ones, and from which on the
/// others are; between them both are tried.
constexpr int32_t kMemoryBoundRows = 64;
constexpr int32_t kComputeBoundRows = 1024;
constexpr double kRopeBase = 1e4;

int32_t Int(int64_t value) { return static_cast<int32_t>(value); }

StepCapacity CapacityOf(const ExecutorRequest& request) {
  return {.rows = Int(ComputedRows(request.max_batch_tokens)),
          .sequences = Int(2 * request.max_sequences),
          .logit_rows = Int(ComputedRows(request.max_sequences))};
}

/// Angles for every position that the cache could hold of one sequence.
DeviceBuffer<float> RopeAngles(const ModelSpec& model, int32_t rotary, int64_t kv_tokens) {
  const int64_t positions = std::min(model.max_positions, kv_tokens);
  const std::vector<float> table =
      RopeTable(InverseFrequencies(kRopeBase, rotary), 1, Int(positions));
  return DeviceBuffer<float>(std::span<const float>(table));
}

/// Row c: column c of the Hadamard matrix of `size` rows, without its factor.
DeviceBuffer<__nv_bfloat16> HadamardColumns(const KvPools& pools) {
  if (pools.scheme().rotation == KeyRotation::kNone) return {};
  const auto size = static_cast<uint32_t>(pools.shape().head_dim);
  std::vector<__nv_bfloat16> columns;
  for (uint32_t c = 0; c < size; ++c) {
    for (uint32_t r = 0; r < size; ++r) {
      columns.push_back(__float2bfloat16(std::popcount(c & r) % 2 == 0 ? 1.0F : -1.0F));
    }
  }
  return DeviceBuffer<__nv_bfloat16>(std::span<const __nv_bfloat16>(columns));
}

int32_t RotaryOf(const ModelSpec& model) {
  const auto* mla = std::get_if<MlaAttention>(&model.attention);
  return mla != nullptr ? Int(mla->qk_rope_head_dim)
                        : Int(std::get<GqaAttention>(model.attention).head_dim);
}

}  // namespace

ModelOps::ModelOps(const ExecutorRequest& request, const Stream& stream)
    : model_(request.model),
      widths_(WidthsOf(request.model)),
      stream_(stream),
      weights_(request.model, stream),
      products_(stream),
      act_(request.model, CapacityOf(request), stream),
      pools_(request),
      limits_{.vocabulary = Int(request.model.vocabulary),
              .moe_layers = Int(request.model.moe_layer_count()),
              .experts = request.model.moe ? Int(request.model.moe->experts) : 0,
              .memory_bound_rows = kMemoryBoundRows},
      rope_table_(RopeAngles(request.model, RotaryOf(request.model), request.kv_tokens)),
      hadamard_(HadamardColumns(pools_)),
      prefill_counters_(kAttendPrefillCounters) {
  prefill_counters_.Zero();
  stream.Synchronize();
}

StepForm ModelOps::Prepare(const StepRun& run) {
  pools_.Prepare(run.sequences, run.graph, Int(run.rows));
  limits_.row_pages = pools_.row_pages();
  StepForm form = Describe(run, limits_, inputs_);
  if (widths_.latent > 0) {
    act_.GrowContext(form.context_rows, widths_, stream_);
  } else {
    GrowExpandedPast(form);
  }
  std::span<const int32_t> image;
  if (model_.moe) {
    image = image_.Fill({.layers = limits_.moe_layers,
                         .rows = form.rows,
                         .top_k = Int(model_.moe->top_k),
                         .experts = limits_.experts},
                        run.experts);
  }
  act_.Upload(inputs_, image);
  // A copy from the host may return before it arrives, and the stream does not wait for it.
  CUDA_CHECK(cudaDeviceSynchronize());
  if (form.compute_bound && form.rows <= kComputeBoundRows) {
    const auto kept = std::ranges::count_if(run.experts, [](uint16_t e) { return e != kNoExpert; });
    form.compute_bound = ComputeBoundIsFaster(form, kept / limits_.moe_layers);
  }
  return form;
}

std::vector<StepOp> ModelOps::Of(const StepForm& form) {
  const CacheTraits cache{.rotated = pools_.scheme().rotation != KeyRotation::kNone};
  std::vector<StepOp> ops;
  for (const PlannedOp& planned : PlanStep(model_, cache, form)) {
    ops.push_back({.op = planned.op, .layer = planned.layer, .launch = EnqueueOf(planned, form)});
  }
  return ops;
}

ModelOps::Enqueue ModelOps::EnqueueOf(const PlannedOp& planned, const StepForm& form) {
  using enum StepLaunch;
  const auto layer = static_cast<size_t>(planned.layer);
  switch (planned.launch) {
    case kQkv:
    case kLatentDown:
    case kAttentionOut:
    case kGateUp:
    case kDown:
    case kHead:
      return Product(OperandsOf(planned, form));
    case kRope:
    case kRotate:
    case kAppendDecodes:
    case kPackChunks:
    case kGatherPast:
    case kExpandPast:
    case kAssembleKeys:
    case kPrefillAttention:
    case kAbsorbQuery:
    case kDecodeAttention:
    case kAbsorbValue:
      return widths_.latent > 0 ? LatentAttention(planned, form) : Attention(planned, form);
    case kRoute:
      return RouteOf(form, layer);
    case kExperts:
      return Experts(form, layer);
    case kEmbed:
    case kNormAttention:
    case kNormFeedForward:
    case kActivation:
    case kNormLast:
    case kGatherLast:
    case kSample:
      return Small(planned, form);
  }
  SIM_CHECK(false);
}

ModelOps::Enqueue ModelOps::Small(const PlannedOp& planned, const StepForm& form) {
  const auto layer = static_cast<size_t>(planned.layer);
  const int32_t rows = form.rows;
  const int32_t logit_rows = form.logit_rows;
  switch (planned.launch) {
    case StepLaunch::kEmbed:
      return [this, rows] {
        Embed(rows, Int(model_.hidden), act_.token_ids.data(), weights_.embedding(),
              act_.residual.data(), act_.x.data(), stream_.get());
      };
    case StepLaunch::kNormAttention:
      return Norm(form, weights_.layers()[layer].norm_attention);
    case StepLaunch::kNormFeedForward:
      return Norm(form, weights_.layers()[layer].norm_feed_forward);
    case StepLaunch::kNormLast:
      return Norm(form, weights_.final_norm());
    case StepLaunch::kActivation: {
      const int32_t width = FeedForwardWidth(layer);
      return [this, rows, width] {
        SwiGlu(rows, width, act_.gate_up.data(), act_.act.data(), stream_.get());
      };
    }
    case StepLaunch::kGatherLast:
      return [this, logit_rows] {
        GatherRows(logit_rows, Int(model_.hidden), act_.logit_index.data(), act_.normed.data(),
                   act_.last.data(), stream_.get());
      };
    case StepLaunch::kSample:
      return [this, logit_rows] {
        Sample(logit_rows, limits_.vocabulary, act_.logits.data(), act_.sample_rules.data(),
               act_.sampled.data(), stream_.get());
      };
    default:
      SIM_CHECK(false);
  }
}

ModelOps::Enqueue ModelOps::Norm(const StepForm& form, const __nv_bfloat16* weight) {
  const NormShape shape{.tokens = form.rows, .hidden = Int(model_.hidden)};
  return [this, shape, weight] {
    AddRmsNorm(shape, act_.x.data(), weight, act_.residual.data(), act_.normed.data(),
               stream_.get());
  };
}

ModelOps::Enqueue ModelOps::Product(const DenseOperands& operands) {
  products_.Prepare(operands);
  return [this, operands] { products_.Launch(operands); };
}

DenseOperands ModelOps::OperandsOf(const PlannedOp& planned, const StepForm& form) const {
  const LayerWeights none;
  const bool in_layer = planned.layer != kOutsideLayers;
  const LayerWeights& weights =
      in_layer ? weights_.layers()[static_cast<size_t>(planned.layer)] : none;
  DenseOperands operands{.shape = {.tokens = planned.product.rows,
                                   .outputs = planned.product.outputs,
                                   .inputs = planned.product.inputs},
                         .x = act_.normed.data()};
  const auto set = [&operands](const __nv_bfloat16* weight, __nv_bfloat16* out) {
    operands.weight = weight;
    operands.out = out;
  };
  switch (planned.launch) {
    case StepLaunch::kQkv:
      set(weights.qkv, act_.qkv.data());
      break;
    case StepLaunch::kLatentDown:
      set(weights.latent_down, act_.latent.data());
      break;
    case StepLaunch::kAttentionOut:
      operands.x = act_.attended.data();
      set(weights.attention_out, act_.x.data());
      break;
    case StepLaunch::kGateUp:
      set(weights.gate_up, act_.gate_up.data());
      break;
    case StepLaunch::kDown:
      operands.x = act_.act.data();
      set(weights.down,
          IsMoe(static_cast<size_t>(planned.layer)) ? act_.shared_out.data() : act_.x.data());
      break;
    case StepLaunch::kHead:
      operands.x = form.logit_rows == form.rows ? act_.normed.data() : act_.last.data();
      set(weights_.head(), act_.logits.data());
      break;
    default:
      SIM_CHECK(false);
  }
  return operands;
}

bool ModelOps::IsMoe(size_t layer) const {
  return model_.layers[layer].feed_forward == FeedForwardKind::kMoe;
}

int32_t ModelOps::FeedForwardWidth(size_t layer) const {
  return Int(IsMoe(layer) ? model_.moe->shared_intermediate : model_.dense_intermediate);
}

std::vector<float> ModelOps::Logits(const StepForm& form) const {
  std::vector<__nv_bfloat16> logits(static_cast<size_t>(form.logit_rows) *
                                    static_cast<size_t>(limits_.vocabulary));
  CUDA_CHECK(cudaMemcpy(logits.data(), act_.logits.data(), logits.size() * sizeof(__nv_bfloat16),
                        cudaMemcpyDeviceToHost));
  return {logits.begin(), logits.end()};
}

}  // namespace moecast::kernels
