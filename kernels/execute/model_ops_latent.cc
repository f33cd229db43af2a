// The cache and attention ops of multi-head latent attention: decodes in latent space, chunks over
// keys and values that are expanded from latents.                              [DeepSeekV2, 2.1.2]
#include "kernels/execute/model_ops.h"
#include "kernels/ops/attend_prefill/attend_prefill.h"
#include "kernels/ops/kv/latent.h"
#include "kernels/ops/mla/attend_mla.h"
#include "kernels/ops/rope/rope.h"
#include "sim/base/check.h"

namespace moecast::kernels {

ModelOps::Enqueue ModelOps::LatentAttention(const PlannedOp& planned, const StepForm& form) {
  const auto layer = static_cast<size_t>(planned.layer);
  switch (planned.launch) {
    case StepLaunch::kRope:
      return LatentRope(form);
    case StepLaunch::kAppendDecodes:
      return LatentWrite(form, layer, false);
    case StepLaunch::kPackChunks:
      return LatentWrite(form, layer, true);
    case StepLaunch::kGatherPast:
      return GatherPast(form, layer);
    case StepLaunch::kExpandPast:
      return Expand(planned, form);
    case StepLaunch::kAssembleKeys:
      return Assemble(form);
    case StepLaunch::kPrefillAttention:
      return LatentPrefill(form);
    case StepLaunch::kAbsorbQuery:
      return AbsorbQuery(planned);
    case StepLaunch::kDecodeAttention:
      return LatentDecode(form, layer);
    case StepLaunch::kAbsorbValue:
      return AbsorbValue(planned);
    default:
      SIM_CHECK(false);
  }
}

HeadWidths ModelOps::LatentHeads() const {
  return {.heads = widths_.heads,
          .plain = widths_.key_dim - kRotaryChannels,
          .rotary = kRotaryChannels};
}

/// The rotary parts of queries lie behind their plain ones, that of the key behind the latent.
ModelOps::Enqueue ModelOps::LatentRope(const StepForm& form) {
  const RopeShape rope{.tokens = form.rows,
                       .query_heads = widths_.heads,
                       .key_heads = 1,
                       .head = widths_.key_dim,
                       .rotary = kRotaryChannels,
                       .query_stride = widths_.qkv,
                       .key_stride = widths_.latent};
  return [this, rope] {
    Rope(rope, act_.positions.data(), rope_table_.data(), act_.qkv.data() + LatentHeads().plain,
         act_.latent.data() + kLatentChannels, stream_.get());
  };
}

ModelOps::Enqueue ModelOps::LatentWrite(const StepForm& form, size_t layer, bool chunks) {
  const int32_t first = chunks ? form.decode_rows : 0;
  const LatentCache cache = pools_.LatentsOf(layer, first);
  const __nv_bfloat16* const rows = act_.latent.data() + int64_t{first} * widths_.latent;
  const LatentArgs args{.element = pools_.latents(),
                        .pages = pools_.PagesOf(layer),
                        .block_table = cache.block_table,
                        .pages_per_sequence = cache.pages_per_sequence,
                        .sequences = chunks ? form.chunks : form.decode_rows,
                        .most_new_tokens = chunks ? form.most_chunk_tokens : 1,
                        .row_starts = chunks ? act_.chunk_starts.data() : nullptr,
                        .lengths = act_.lengths.data() + first,
                        .latents = rows,
                        .rotary = rows + kLatentChannels,
                        .latent_stride = widths_.latent,
                        .rotary_stride = widths_.latent};
  return [this, args] { AppendLatents(args, stream_.get()); };
}

/// Where the latents of past and chunk lie: without a past, what the step just computed.
LatentRows ModelOps::ContextOf(const StepForm& form) const {
  const __nv_bfloat16* const rows =
      form.has_past() ? act_.context.data()
                      : act_.latent.data() + int64_t{form.decode_rows} * widths_.latent;
  return {.rows = rows, .stride = widths_.latent};
}

ModelOps::Enqueue ModelOps::GatherPast(const StepForm& form, size_t layer) {
  const LatentCache cache = pools_.LatentsOf(layer, form.decode_rows);
  const LatentPages pages{.element = pools_.latents(),
                          .pages = cache.pages,
                          .block_table = cache.block_table,
                          .pages_per_sequence = cache.pages_per_sequence};
  const ChunkContext gathered{.sequences = form.chunks,
                              .rows = form.context_rows,
                              .key_starts = act_.key_starts.data(),
                              .past = act_.past.data(),
                              .chunk_starts = act_.chunk_starts.data()};
  const LatentRows chunk{.rows = act_.latent.data() + int64_t{form.decode_rows} * widths_.latent,
                         .stride = widths_.latent};
  return [this, gathered, pages, chunk] {
    GatherContext(gathered, pages, chunk, act_.context.data(), stream_.get());
  };
}

ModelOps::Enqueue ModelOps::Expand(const PlannedOp& planned, const StepForm& form) {
  const LatentRows context = ContextOf(form);
  return Product({.shape = {.tokens = planned.product.rows,
                            .outputs = planned.product.outputs,
                            .inputs = planned.product.inputs,
                            .x_row = context.stride},
                  .x = context.rows,
                  .weight = weights_.layers()[static_cast<size_t>(planned.layer)].latent_up,
                  .out = act_.expanded.data()});
}

ModelOps::Enqueue ModelOps::Assemble(const StepForm& form) {
  return [this, rows = form.context_rows, context = ContextOf(form)] {
    AssembleKeys(rows, LatentHeads(), act_.expanded.data(), widths_.up, context, act_.keys.data(),
                 stream_.get());
  };
}

ModelOps::Enqueue ModelOps::LatentPrefill(const StepForm& form) {
  const AttendPrefillShape shape{.query_heads = widths_.heads,
                                 .kv_heads = widths_.heads,
                                 .key_dim = widths_.key_dim,
                                 .value_dim = widths_.value_dim,
                                 .sequences = form.chunks,
                                 .query_rows = form.chunk_rows,
                                 .key_rows = form.context_rows,
                                 .scale = SoftmaxScale()};
  const AttendChunk chunk{
      .query = {.data = act_.qkv.data() + int64_t{form.decode_rows} * widths_.qkv,
                .stride = widths_.qkv},
      .key = {.data = act_.keys.data(), .stride = int64_t{widths_.heads} * widths_.key_dim},
      .value = {.data = act_.expanded.data() + int64_t{widths_.heads} * LatentHeads().plain,
                .stride = widths_.up},
      .offsets = act_.chunk_starts.data(),
      .key_offsets = form.has_past() ? act_.key_starts.data() : nullptr};
  __nv_bfloat16* const out = act_.attended.data() + form.decode_rows * int64_t{widths_.values};
  return [this, shape, chunk, out] {
    AttendPrefill(shape, chunk, {}, out, prefill_counters_.data(), stream_.get());
  };
}

ModelOps::Enqueue ModelOps::AbsorbQuery(const PlannedOp& planned) {
  const int32_t rows = planned.product.rows;
  const DenseOperands operands{
      .shape = {.tokens = rows,
                .outputs = planned.product.outputs,
                .inputs = planned.product.inputs,
                .batch = planned.product.batch,
                .x_row = widths_.qkv,
                .x_product = widths_.key_dim,
                .out_row = int64_t{widths_.heads} * widths_.latent,
                .out_product = widths_.latent},
      .x = act_.qkv.data(),
      .weight = weights_.layers()[static_cast<size_t>(planned.layer)].absorb_query,
      .out = act_.absorbed.data()};
  products_.Prepare(operands);
  return [this, operands, rows] {
    products_.Launch(operands);
    PlaceRotary(rows, LatentHeads(), kLatentChannels, act_.qkv.data(), act_.absorbed.data(),
                stream_.get());
  };
}

ModelOps::Enqueue ModelOps::AbsorbValue(const PlannedOp& planned) {
  return Product({.shape = {.tokens = planned.product.rows,
                            .outputs = planned.product.outputs,
                            .inputs = planned.product.inputs,
                            .batch = planned.product.batch,
                            .x_row = int64_t{widths_.heads} * kLatentChannels,
                            .x_product = kLatentChannels,
                            .out_row = widths_.values,
                            .out_product = widths_.value_dim},
                  .x = act_.latent_out.data(),
                  .weight = weights_.layers()[static_cast<size_t>(planned.layer)].absorb_value,
                  .out = act_.attended.data()});
}

ModelOps::Enqueue ModelOps::LatentDecode(const StepForm& form, size_t layer) {
  const AttendMlaShape shape{
      .sequences = form.decode_rows, .query_heads = widths_.heads, .element = pools_.latents()};
  const AttendMlaArgs args{.shape = shape,
                           .cache = pools_.LatentsOf(layer, 0),
                           .lengths = act_.lengths.data(),
                           .query = act_.absorbed.data(),
                           .scale = SoftmaxScale(),
                           .out = act_.latent_out.data(),
                           .workspace = pools_.WorkspaceOf(shape)};
  return [this, args] { AttendMla(args, stream_.get()); };
}

}  // namespace moecast::kernels
