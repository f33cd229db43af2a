#include "kernels/execute/model_ops.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "kernels/execute/glue.h"
#include "kernels/ops/attend_prefill/attend_prefill.h"
#include "kernels/ops/norm/norm.h"
#include "kernels/ops/rope/rope.h"

namespace moecast::kernels {
namespace {

/// Rows from which on the compute-bound expert products are the faster ones, and up to which the
/// others were measured (docs/kernels.md, docs/kernels_prefill.md).
constexpr int32_t kMemoryBoundRows = 256;
constexpr double kRopeBase = 1e4;

int32_t Int(int64_t value) { return static_cast<int32_t>(value); }

StepCapacity CapacityOf(const ExecutorRequest& request) {
  return {.rows = DenseProducts::ComputedRows(Int(request.max_batch_tokens)),
          .sequences = Int(request.max_sequences),
          .logit_rows = DenseProducts::ComputedRows(Int(request.max_sequences))};
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
  const StepForm form = Describe(run, limits_, inputs_);
  std::span<const int32_t> image;
  if (model_.moe) {
    image = image_.Fill({.layers = limits_.moe_layers,
                         .rows = form.rows,
                         .top_k = Int(model_.moe->top_k),
                         .experts = limits_.experts},
                        run.experts);
  }
  act_.Upload(inputs_, image);
  return form;
}

std::vector<StepOp> ModelOps::Of(const StepForm& form) {
  std::vector<StepOp> ops;
  ops.push_back({"elementwise.embedding", kOutsideLayers, [this, form] {
                   Embed(form.rows, Int(model_.hidden), act_.token_ids.data(), weights_.embedding(),
                         act_.residual.data(), act_.x.data(), stream_.get());
                 }});
  for (size_t layer = 0; layer < model_.layers.size(); ++layer) {
    AddNorm(layer, form, weights_.layers()[layer].norm_attention, ops);
    AddAttention(form, layer, ops);
    AddNorm(layer, form, weights_.layers()[layer].norm_feed_forward, ops);
    if (model_.layers[layer].feed_forward == FeedForwardKind::kMoe) {
      AddMoe(form, layer, ops);
    } else {
      AddDenseBlock(form, layer, ops);
    }
  }
  AddNorm(static_cast<size_t>(kOutsideLayers), form, weights_.final_norm(), ops);
  if (form.logit_rows > 0) AddHead(form, ops);
  return ops;
}

void ModelOps::AddNorm(size_t layer, const StepForm& form, const __nv_bfloat16* weight,
                       std::vector<StepOp>& ops) {
  const NormShape shape{.tokens = form.rows, .hidden = Int(model_.hidden)};
  ops.push_back({"elementwise.norm", static_cast<int32_t>(layer), [this, shape, weight] {
                   AddRmsNorm(shape, act_.x.data(), weight, act_.residual.data(),
                              act_.normed.data(), stream_.get());
                 }});
}

void ModelOps::AddProduct(std::string_view op, size_t layer, const DenseOperands& operands,
                          std::vector<StepOp>& ops) {
  products_.Prepare(operands);
  ops.push_back(
      {op, static_cast<int32_t>(layer), [this, operands] { products_.Launch(operands); }});
}

void ModelOps::AddAttention(const StepForm& form, size_t layer, std::vector<StepOp>& ops) {
  const LayerWeights& weights = weights_.layers()[layer];
  AddProduct("gemm.qkv", layer,
             {.rows = form.rows,
              .outputs = widths_.qkv,
              .inputs = Int(model_.hidden),
              .x = act_.normed.data(),
              .weight = weights.qkv,
              .out = act_.qkv.data()},
             ops);
  const RopeShape rope{.tokens = form.rows,
                       .query_heads = widths_.heads,
                       .key_heads = widths_.kv_heads,
                       .head = widths_.key_dim,
                       .rotary = widths_.key_dim,
                       .query_stride = widths_.qkv,
                       .key_stride = widths_.qkv};
  ops.push_back({"elementwise.rope", static_cast<int32_t>(layer), [this, rope] {
                   Rope(rope, act_.positions.data(), rope_table_.data(), act_.qkv.data(),
                        act_.qkv.data() + rope.query_heads * rope.head, stream_.get());
                 }});
  if (pools_.scheme().rotation != KeyRotation::kNone) AddRotation(form, layer, ops);
  if (form.chunks > 0) AddPrefillAttention(form, layer, ops);
  AddCache(form, layer, ops);
  if (form.decode_rows > 0) AddDecodeAttention(form, layer, ops);
  AddProduct("gemm.attention_out", layer,
             {.rows = form.rows,
              .outputs = Int(model_.hidden),
              .inputs = widths_.values,
              .x = act_.attended.data(),
              .weight = weights.attention_out,
              .out = act_.x.data()},
             ops);
}

void ModelOps::AddDenseBlock(const StepForm& form, size_t layer, std::vector<StepOp>& ops) {
  const LayerWeights& weights = weights_.layers()[layer];
  const bool moe = model_.layers[layer].feed_forward == FeedForwardKind::kMoe;
  const int32_t width = Int(moe ? model_.moe->shared_intermediate : model_.dense_intermediate);
  AddProduct(moe ? "gemm.shared_gate_up" : "gemm.dense_gate_up", layer,
             {.rows = form.rows,
              .outputs = 2 * width,
              .inputs = Int(model_.hidden),
              .x = act_.normed.data(),
              .weight = weights.gate_up,
              .out = act_.gate_up.data()},
             ops);
  ops.push_back({"elementwise.activation", static_cast<int32_t>(layer), [this, form, width] {
                   SwiGlu(form.rows, width, act_.gate_up.data(), act_.act.data(), stream_.get());
                 }});
  AddProduct(moe ? "gemm.shared_down" : "gemm.dense_down", layer,
             {.rows = form.rows,
              .outputs = Int(model_.hidden),
              .inputs = width,
              .x = act_.act.data(),
              .weight = weights.down,
              .out = moe ? act_.shared_out.data() : act_.x.data()},
             ops);
}

void ModelOps::AddHead(const StepForm& form, std::vector<StepOp>& ops) {
  const int32_t rows = form.logit_rows;
  const __nv_bfloat16* x = act_.normed.data();
  if (rows != form.rows) {
    x = act_.last.data();
    ops.push_back({"gemm.lm_head", kOutsideLayers, [this, rows] {
                     GatherRows(rows, Int(model_.hidden), act_.logit_index.data(),
                                act_.normed.data(), act_.last.data(), stream_.get());
                   }});
  }
  AddProduct("gemm.lm_head", static_cast<size_t>(kOutsideLayers),
             {.rows = rows,
              .outputs = limits_.vocabulary,
              .inputs = Int(model_.hidden),
              .x = x,
              .weight = weights_.head(),
              .out = act_.logits.data()},
             ops);
  ops.push_back({"elementwise.sampling", kOutsideLayers, [this, rows] {
                   Sample(rows, limits_.vocabulary, act_.logits.data(), act_.sample_rules.data(),
                          act_.sampled.data(), stream_.get());
                 }});
}

bool ModelOps::LogitsAreNumbers(const StepForm& form) const {
  std::vector<__nv_bfloat16> logits(static_cast<size_t>(form.logit_rows) *
                                    static_cast<size_t>(limits_.vocabulary));
  CUDA_CHECK(cudaMemcpy(logits.data(), act_.logits.data(), logits.size() * sizeof(__nv_bfloat16),
                        cudaMemcpyDeviceToHost));
  return std::ranges::all_of(logits,
                             [](__nv_bfloat16 v) { return std::isfinite(static_cast<float>(v)); });
}

}  // namespace moecast::kernels
