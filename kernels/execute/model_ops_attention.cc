// The cache and attention ops of grouped-query attention.
#include <cmath>

#include "kernels/execute/model_ops.h"
#include "kernels/ops/attend_prefill/attend_prefill.h"
#include "kernels/ops/kv/append.h"
#include "kernels/ops/kv/pack.h"
#include "kernels/ops/kv/rotate.h"

namespace moecast::kernels {

AttendShape ModelOps::DecodeShape(const StepForm& form) const {
  return {.sequences = form.decode_rows, .query_heads = widths_.heads, .kv = pools_.shape()};
}

void ModelOps::AddRotation(const StepForm& form, size_t layer, std::vector<StepOp>& ops) {
  const RotateArgs args{.rows = form.rows,
                        .heads = widths_.heads + widths_.kv_heads,
                        .head_dim = widths_.key_dim,
                        .stride = widths_.qkv,
                        .heads_data = act_.qkv.data(),
                        .columns = hadamard_.data(),
                        .factor = 1 / std::sqrt(static_cast<float>(widths_.key_dim))};
  ops.push_back({"kv_append", static_cast<int32_t>(layer),
                 [this, args] { RotateHeads(args, stream_.get()); }});
}

void ModelOps::AddCache(const StepForm& form, size_t layer, std::vector<StepOp>& ops) {
  const int64_t stride = widths_.qkv;
  const __nv_bfloat16* const keys = act_.qkv.data() + widths_.heads * widths_.key_dim;
  const __nv_bfloat16* const values = keys + widths_.kv_heads * widths_.key_dim;
  if (form.decode_rows > 0) {
    const AppendArgs args{.shape = pools_.shape(),
                          .scheme = pools_.scheme(),
                          .cache = pools_.CacheOf(layer, 0),
                          .sequences = form.decode_rows,
                          .lengths = act_.lengths.data(),
                          .keys = keys,
                          .values = values,
                          .key_stride = stride,
                          .value_stride = stride};
    ops.push_back({"kv_append", static_cast<int32_t>(layer),
                   [this, args] { AppendTokens(args, stream_.get()); }});
  }
  if (form.chunks > 0) {
    const PackArgs args{.shape = pools_.shape(),
                        .scheme = pools_.scheme(),
                        .cache = pools_.CacheOf(layer, form.decode_rows),
                        .sequences = form.chunks,
                        .most_new_tokens = form.most_chunk_tokens,
                        .row_starts = act_.chunk_starts.data(),
                        .lengths = act_.lengths.data() + form.decode_rows,
                        .keys = keys + form.decode_rows * stride,
                        .values = values + form.decode_rows * stride,
                        .key_stride = stride,
                        .value_stride = stride};
    ops.push_back({"kv_append", static_cast<int32_t>(layer),
                   [this, args] { PackTokens(args, stream_.get()); }});
  }
}

void ModelOps::AddDecodeAttention(const StepForm& form, size_t layer, std::vector<StepOp>& ops) {
  const bool window = model_.layers[layer].attention == AttentionKind::kSlidingWindow;
  const AttendShape shape = DecodeShape(form);
  const AttendArgs args{
      .shape = shape,
      .scheme = pools_.scheme(),
      .cache = pools_.CacheOf(layer, 0),
      .lengths = act_.lengths.data(),
      .query = act_.qkv.data(),
      .query_stride = widths_.qkv,
      .softmax_scale = 1 / std::sqrt(static_cast<float>(widths_.key_dim)),
      .visible = {.window = window ? static_cast<int32_t>(model_.sliding_window) : 0},
      .out = act_.attended.data(),
      .workspace = pools_.WorkspaceOf(shape)};
  ops.push_back({"attention.decode", static_cast<int32_t>(layer),
                 [this, args] { Attend(args, stream_.get()); }});
}

void ModelOps::AddPrefillAttention(const StepForm& form, size_t layer, std::vector<StepOp>& ops) {
  const bool window = model_.layers[layer].attention == AttentionKind::kSlidingWindow;
  const int64_t stride = widths_.qkv;
  const __nv_bfloat16* const queries = act_.qkv.data() + form.decode_rows * stride;
  const __nv_bfloat16* const keys = queries + widths_.heads * widths_.key_dim;
  const AttendPrefillShape shape{
      .query_heads = widths_.heads,
      .kv_heads = widths_.kv_heads,
      .key_dim = widths_.key_dim,
      .value_dim = widths_.value_dim,
      .sequences = form.chunks,
      .query_rows = form.chunk_rows,
      .key_rows = form.chunk_rows,
      .scale = 1 / std::sqrt(static_cast<float>(widths_.key_dim)),
      .window = window ? static_cast<int32_t>(model_.sliding_window) : 0};
  const AttendChunk chunk{
      .query = {.data = queries, .stride = stride},
      .key = {.data = keys, .stride = stride},
      .value = {.data = keys + widths_.kv_heads * widths_.key_dim, .stride = stride},
      .offsets = act_.chunk_starts.data()};
  const AttendPast past{.scheme = pools_.scheme(),
                        .cache = pools_.CacheOf(layer, form.decode_rows),
                        .tokens = act_.past.data()};
  __nv_bfloat16* const out = act_.attended.data() + form.decode_rows * int64_t{widths_.values};
  ops.push_back({"attention.prefill", static_cast<int32_t>(layer), [this, shape, chunk, past, out] {
                   AttendPrefill(shape, chunk, past, out, prefill_counters_.data(), stream_.get());
                 }});
}

}  // namespace moecast::kernels
