#include "kernels/execute/activations.h"

#include <algorithm>

#include "kernels/bench/fill.h"
#include "sim/model/computed_rows.h"

namespace moecast::kernels {
namespace {

size_t Count(int64_t value) { return static_cast<size_t>(value); }

using Rows = Activations::Rows;

/// Values are random: what is not written yet must not be zeros or no numbers.
Rows Draw(int64_t rows, int64_t columns, const Stream& stream) {
  Rows values(Count(rows * columns));
  if (values.size() > 0) FillUniform(values.data(), values.size(), 1.0F, 1, stream.get());
  return values;
}

template <class T>
DeviceBuffer<T> Zeros(int64_t count) {
  DeviceBuffer<T> values(Count(count));
  if (count > 0) values.Zero();
  return values;
}

int64_t FeedForwardWidth(const ModelSpec& model) {
  return std::max(model.dense_intermediate, model.moe ? model.moe->shared_intermediate : 0);
}

}  // namespace

Activations::Activations(const ModelSpec& model, const StepCapacity& capacity,
                         const Stream& stream) {
  const AttentionWidths widths = WidthsOf(model);
  const int64_t rows = capacity.rows;
  const int64_t width = FeedForwardWidth(model);
  residual = Draw(rows, model.hidden, stream);
  x = Draw(rows, model.hidden, stream);
  normed = Draw(rows, model.hidden, stream);
  qkv = Draw(rows, widths.qkv, stream);
  latent = Draw(rows, widths.latent, stream);
  attended = Draw(rows, widths.values, stream);
  gate_up = Draw(rows, 2 * width, stream);
  act = Draw(rows, width, stream);
  shared_out = Draw(width > 0 ? rows : 0, model.hidden, stream);
  last = Draw(capacity.logit_rows, model.hidden, stream);
  logits = Draw(capacity.logit_rows, model.vocabulary, stream);
  token_ids = Zeros<int32_t>(rows);
  positions = Zeros<int32_t>(rows);
  lengths = Zeros<int32_t>(rows + capacity.sequences);
  chunk_starts = Zeros<int32_t>(capacity.sequences + 1);
  past = Zeros<int32_t>(capacity.sequences);
  key_starts = Zeros<int32_t>(capacity.sequences + 1);
  logit_index = Zeros<int32_t>(capacity.logit_rows);
  sampled = Zeros<int32_t>(capacity.logit_rows);
  // The largest logit: temperature 0.
  sample_rules = DeviceBuffer<SampleRule>(
      std::span<const SampleRule>(std::vector<SampleRule>(Count(capacity.logit_rows))));
  if (model.moe) AllocateExperts(model, capacity.rows, stream);
  if (widths.latent > 0) AllocateLatents(model, capacity.sequences, stream);
}

void Activations::AllocateLatents(const ModelSpec& model, int32_t sequences, const Stream& stream) {
  const auto& mla = std::get<MlaAttention>(model.attention);
  const int64_t decodes = ComputedRows(sequences);
  absorbed = Draw(decodes, mla.heads * (mla.kv_lora_rank + mla.qk_rope_head_dim), stream);
  latent_out = Draw(decodes, mla.heads * mla.kv_lora_rank, stream);
}

void Activations::GrowContext(int32_t rows, const AttentionWidths& widths, const Stream& stream) {
  const int64_t computed = ComputedRows(rows);
  if (context.size() >= Count(computed * widths.latent)) return;
  context = Draw(computed, widths.latent, stream);
  expanded = Draw(computed, widths.up, stream);
  keys = Draw(computed, int64_t{widths.heads} * widths.key_dim, stream);
}

void Activations::AllocateExperts(const ModelSpec& model, int32_t rows, const Stream& stream) {
  const MoeSpec& moe = *model.moe;
  const int64_t slots = rows * moe.top_k;
  const auto blocks = [](int64_t columns) { return (columns + kFp8BlockSize - 1) / kFp8BlockSize; };
  expert_act = Draw(slots, moe.expert_intermediate, stream);
  expert_y = Draw(slots, model.hidden, stream);
  expert_x = Draw(slots, model.hidden, stream);
  expert_x_scale = Zeros<float>(slots * blocks(model.hidden));
  expert_act_scale = Zeros<float>(slots * blocks(moe.expert_intermediate));
  handoff = Zeros<uint32_t>(moe.experts + 1);
  const RoutingShape shape{.layers = static_cast<int32_t>(model.moe_layer_count()),
                           .rows = rows,
                           .top_k = static_cast<int32_t>(moe.top_k),
                           .experts = static_cast<int32_t>(moe.experts)};
  routing =
      Zeros<int32_t>(int64_t{shape.layers} * static_cast<int64_t>(LayoutOf(shape).layer_words));
  route_logits_ = DeviceBuffer<float>(PartialLogits({.tokens = rows,
                                                     .top_k = shape.top_k,
                                                     .experts = shape.experts,
                                                     .hidden = static_cast<int32_t>(model.hidden),
                                                     .intermediate = 0}));
  route_weights_ = Zeros<float>(slots);
  route_slots_ = Zeros<int32_t>(3 * slots);
  route_experts_ = Zeros<int32_t>(2 * moe.experts + 2);
  routed = {.partial_logits = route_logits_.data(),
            .expert_of_slot = route_slots_.data(),
            .weight_of_slot = route_weights_.data(),
            .position_of_slot = route_slots_.data() + slots,
            .active_experts = route_experts_.data(),
            .active_count = route_experts_.data() + moe.experts,
            .offsets = route_experts_.data() + moe.experts + 1,
            .slot_token = route_slots_.data() + 2 * slots};
}

void Activations::Upload(const StepInputs& inputs, std::span<const int32_t> image) {
  token_ids.CopyFrom(inputs.token_ids);
  positions.CopyFrom(inputs.positions);
  lengths.CopyFrom(inputs.lengths);
  chunk_starts.CopyFrom(inputs.chunk_starts);
  past.CopyFrom(inputs.past);
  key_starts.CopyFrom(inputs.key_starts);
  logit_index.CopyFrom(inputs.logit_index);
  routing.CopyFrom(image);
}

}  // namespace moecast::kernels
