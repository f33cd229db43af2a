// The cache and attention ops of grouped-query attention.
#include <cmath>

#include "kernels/execute/model_ops.h"
#include "kernels/ops/attend_prefill/attend_prefill.h"
#include "kernels/ops/kv/append.h"
#include "kernels/ops/kv/pack.h"
#include "kernels/ops/kv/rotate.h"
#include "kernels/ops/rope/rope.h"
#include "sim/base/check.h"

namespace moecast::kernels {

ModelOps::Enqueue ModelOps::Attention(const PlannedOp& planned, const StepForm& form) {
  const auto layer = static_cast<size_t>(planned.layer);
  switch (planned.launch) {
    case StepLaunch::kRope:
      return RopeOf(form);
    case StepLaunch::kRotate:
      return Rotate(form);
    case StepLaunch::kAppendDecodes:
      return Append(form, layer);
    case StepLaunch::kPackChunks:
      return Pack(form, layer);
    case StepLaunch::kPrefillAttention:
      return Prefill(form, layer);
    case StepLaunch::kDecodeAttention:
      return Decode(form, layer);
    default:
      SIM_CHECK(false);
  }
}

int32_t ModelOps::WindowOf(size_t layer) const {
  const bool window = model_.layers[layer].attention == AttentionKind::kSlidingWindow;
  return window ? static_cast<int32_t>(model_.sliding_window) : 0;
}

float ModelOps::SoftmaxScale() const { return 1 / std::sqrt(static_cast<float>(widths_.key_dim)); }

ModelOps::Enqueue ModelOps::RopeOf(const StepForm& form) {
  const RopeShape rope{.tokens = form.rows,
                       .query_heads = widths_.heads,
                       .key_heads = widths_.kv_heads,
                       .head = widths_.key_dim,
                       .rotary = widths_.key_dim,
                       .query_stride = widths_.qkv,
                       .key_stride = widths_.qkv};
  return [this, rope] {
    Rope(rope, act_.positions.data(), rope_table_.data(), act_.qkv.data(),
         act_.qkv.data() + int64_t{rope.query_heads} * rope.head, stream_.get());
  };
}

ModelOps::Enqueue ModelOps::Rotate(const StepForm& form) {
  const RotateArgs args{.rows = form.rows,
                        .heads = widths_.heads + widths_.kv_heads,
                        .head_dim = widths_.key_dim,
                        .stride = widths_.qkv,
                        .heads_data = act_.qkv.data(),
                        .columns = hadamard_.data(),
                        .factor = SoftmaxScale()};
  return [this, args] { RotateHeads(args, stream_.get()); };
}

ModelOps::Enqueue ModelOps::Append(const StepForm& form, size_t layer) {
  const int64_t stride = widths_.qkv;
  const __nv_bfloat16* const keys = act_.qkv.data() + int64_t{widths_.heads} * widths_.key_dim;
  const AppendArgs args{.shape = pools_.shape(),
                        .scheme = pools_.scheme(),
                        .cache = pools_.CacheOf(layer, 0),
                        .sequences = form.decode_rows,
                        .lengths = act_.lengths.data(),
                        .keys = keys,
                        .values = keys + int64_t{widths_.kv_heads} * widths_.key_dim,
                        .key_stride = stride,
                        .value_stride = stride};
  return [this, args] { AppendTokens(args, stream_.get()); };
}

ModelOps::Enqueue ModelOps::Pack(const StepForm& form, size_t layer) {
  const int64_t stride = widths_.qkv;
  const __nv_bfloat16* const keys =
      act_.qkv.data() + int64_t{widths_.heads} * widths_.key_dim + form.decode_rows * stride;
  const PackArgs args{.shape = pools_.shape(),
                      .scheme = pools_.scheme(),
                      .cache = pools_.CacheOf(layer, form.decode_rows),
                      .sequences = form.chunks,
                      .most_new_tokens = form.most_chunk_tokens,
                      .row_starts = act_.chunk_starts.data(),
                      .lengths = act_.lengths.data() + form.decode_rows,
                      .keys = keys,
                      .values = keys + int64_t{widths_.kv_heads} * widths_.key_dim,
                      .key_stride = stride,
                      .value_stride = stride};
  return [this, args] { PackTokens(args, stream_.get()); };
}

ModelOps::Enqueue ModelOps::Decode(const StepForm& form, size_t layer) {
  const AttendShape shape{
      .sequences = form.decode_rows, .query_heads = widths_.heads, .kv = pools_.shape()};
  const AttendArgs args{.shape = shape,
                        .scheme = pools_.scheme(),
                        .cache = pools_.CacheOf(layer, 0),
                        .lengths = act_.lengths.data(),
                        .query = act_.qkv.data(),
                        .query_stride = widths_.qkv,
                        .softmax_scale = SoftmaxScale(),
                        .visible = {.window = WindowOf(layer)},
                        .out = act_.attended.data(),
                        .workspace = pools_.WorkspaceOf(shape)};
  return [this, args] { Attend(args, stream_.get()); };
}

AttendPrefillShape ModelOps::PrefillShape(const StepForm& form) const {
  return {.query_heads = widths_.heads,
          .kv_heads = widths_.kv_heads,
          .key_dim = widths_.key_dim,
          .value_dim = widths_.value_dim,
          .sequences = form.chunks,
          .query_rows = form.chunk_rows,
          .key_rows = form.chunk_rows,
          .scale = SoftmaxScale()};
}

// Before a step's launches are captured: they keep its address.
void ModelOps::GrowExpandedPast(const StepForm& form) {
  const int64_t past = form.context_rows - form.chunk_rows;
  if (past == 0) return;
  const int64_t most_tiles = past / kPastTileTokens + form.chunks;
  const size_t bytes = AttendPrefillPastBytes(PrefillShape(form), most_tiles);
  if (expanded_past_.size() < bytes) expanded_past_ = DeviceBuffer<uint8_t>(bytes);
}

ModelOps::Enqueue ModelOps::Prefill(const StepForm& form, size_t layer) {
  const int64_t stride = widths_.qkv;
  const __nv_bfloat16* const queries = act_.qkv.data() + form.decode_rows * stride;
  const __nv_bfloat16* const keys = queries + int64_t{widths_.heads} * widths_.key_dim;
  AttendPrefillShape shape = PrefillShape(form);
  shape.window = WindowOf(layer);
  const AttendChunk chunk{
      .query = {.data = queries, .stride = stride},
      .key = {.data = keys, .stride = stride},
      .value = {.data = keys + int64_t{widths_.kv_heads} * widths_.key_dim, .stride = stride},
      .offsets = act_.chunk_starts.data()};
  const AttendPast past{.scheme = pools_.scheme(),
                        .cache = pools_.CacheOf(layer, form.decode_rows),
                        .tokens = form.has_past() ? act_.past.data() : nullptr,
                        .expanded = expanded_past_.data()};
  __nv_bfloat16* const out = act_.attended.data() + form.decode_rows * int64_t{widths_.values};
  return [this, shape, chunk, past, out] {
    AttendPrefill(shape, chunk, past, out, prefill_counters_.data(), stream_.get());
  };
}

}  // namespace moecast::kernels
