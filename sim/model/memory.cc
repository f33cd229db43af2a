#include "sim/model/memory.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>

#include "sim/base/text.h"

namespace moecast {
namespace {

/// Gate, up and down.
constexpr int64_t kSwigluMatrices = 3;
constexpr double kBitsPerByte = 8;
/// Bits are printed with one decimal, rounded down.
constexpr double kDecimal = 10;
/// Largest replica searched for a parallelism that fits.
constexpr int64_t kLargestReplica = int64_t{1} << 10;

double Elements(int64_t rows, int64_t columns) {
  return static_cast<double>(rows) * static_cast<double>(columns);
}

double AttentionElements(const ModelSpec& model, const GqaAttention& a, int64_t tensor) {
  const int64_t heads = a.heads / tensor;
  const int64_t kv_heads = std::max<int64_t>(1, a.kv_heads / tensor);
  const int64_t values = heads * a.value_head_dim;
  const int64_t gate = model.attention_output_gate ? values : 0;
  return Elements(model.hidden,
                  heads * a.head_dim + gate + values + kv_heads * (a.head_dim + a.value_head_dim));
}

double AttentionElements(const ModelSpec& model, const MlaAttention& a, int64_t tensor) {
  const int64_t heads = a.heads / tensor;
  const int64_t queries = heads * (a.qk_nope_head_dim + a.qk_rope_head_dim);
  const int64_t down = a.q_lora_rank.value_or(0) + a.kv_lora_rank + a.qk_rope_head_dim;
  return Elements(model.hidden, down) + Elements(a.q_lora_rank.value_or(model.hidden), queries) +
         Elements(a.kv_lora_rank, heads * (a.qk_nope_head_dim + a.v_head_dim)) +
         Elements(heads * a.v_head_dim, model.hidden);
}

double AttentionElements(const ModelSpec& model, const LinearAttention& a, int64_t tensor) {
  const int64_t keys = a.key_heads * a.key_head_dim / tensor;
  const int64_t value_heads = a.value_heads / tensor;
  const int64_t values = value_heads * a.value_head_dim;
  return Elements(model.hidden, 2 * keys + 2 * values + 2 * value_heads + values);
}

/// Bytes per element that experts stored in the mix's format take more than the others (less, when
/// negative), summed over the experts of the rank that this costs most.
double MixedExperts(const ModelSpec& model, const Parallelism& p) {
  const WeightFormats& formats = model.formats;
  if (!formats.mix) return 0;
  const double more = formats.mix->format.bytes_per_element() - formats.experts.bytes_per_element();
  std::vector<int64_t> owned(static_cast<size_t>(p.expert));
  const int64_t block = model.moe->experts / p.expert;
  for (const int64_t expert : formats.mix->experts) ++owned[static_cast<size_t>(expert / block)];
  const auto [fewest, most] = std::minmax_element(owned.begin(), owned.end());
  return more * static_cast<double>(more > 0 ? *most : *fewest);
}

double MoeLayerBytes(const ModelSpec& model, const Parallelism& p) {
  const MoeSpec& moe = *model.moe;
  const WeightFormats& formats = model.formats;
  const int64_t width = moe.expert_intermediate / p.expert_tensor();
  const double expert = Elements(model.hidden, kSwigluMatrices * width);
  const int64_t experts = moe.experts / p.expert;
  const double shared =
      Elements(model.hidden, kSwigluMatrices * (moe.shared_intermediate / p.tensor));
  const double routers = Elements(model.hidden, moe.experts * moe.router_matrices) +
                         Elements(model.hidden, experts * moe.inner_router_width);
  return Elements(1, experts) * expert * formats.experts.bytes_per_element() +
         MixedExperts(model, p) * expert +
         shared * formats.of_shared_experts().bytes_per_element() +
         routers * formats.activations.bytes_per_element();
}

double ExtraBytes(const ModelSpec& model) {
  double bytes = 0;
  for (const ExtraOperation& extra : model.extras) {
    bytes += static_cast<double>(Executions(model, extra)) * extra.weights *
             extra.format.bytes_per_element();
  }
  return bytes;
}

double StateBytesPerSequence(const ModelSpec& model, int64_t tensor) {
  if (!model.linear_attention) return 0;
  const LinearAttention& a = *model.linear_attention;
  const int64_t keys = a.key_heads * a.key_head_dim / tensor;
  const int64_t values = a.value_heads * a.value_head_dim / tensor;
  const int64_t elements = values * a.key_head_dim + (2 * keys + values) * (a.conv_width - 1);
  return Elements(model.attention_layer_count(AttentionKind::kLinear), elements) *
         model.formats.activations.bytes_per_element();
}

MemoryPlan Lay(const ModelSpec& model, const Parallelism& p, const DeviceSpec& device,
               const KvPlan& kv, const MemoryLimits& limits) {
  MemoryPlan plan;
  plan.weights = WeightBytesPerGpu(model, p);
  plan.reserved = limits.reserved;
  const KvElements elements = KvElementsOf(model, p.tensor);
  const KvCharge charge = ChargeOf(kv.stores.front(), elements);
  plan.kv_bytes_per_token = charge.per_token;
  plan.kv_bytes_per_sequence = charge.per_sequence;
  plan.kv_bits = BitsOf(kv.stores.front(), elements);
  plan.state_bytes_per_sequence = StateBytesPerSequence(model, p.tensor);
  plan.state = Bytes(plan.state_bytes_per_sequence * static_cast<double>(limits.state_sequences));
  plan.kv_budget =
      device.hbm_capacity * limits.memory_fraction - plan.weights - plan.reserved - plan.state;
  if (plan.kv_budget.count() > 0 && plan.kv_bytes_per_token > 0) {
    plan.kv_tokens =
        static_cast<int64_t>(std::floor(plan.kv_budget.count() / plan.kv_bytes_per_token));
  }
  return plan;
}

/// Matrix elements on one GPU: the bytes of a copy of the model that stores one byte per element.
double WeightElementsPerGpu(ModelSpec model, const Parallelism& p) {
  WeightFormats& formats = model.formats;
  formats.shared_experts.reset();
  formats.lm_head.reset();
  formats.mix.reset();
  for (TensorFormat* format : {&formats.attention, &formats.dense_ffn, &formats.experts,
                               &formats.embeddings, &formats.activations}) {
    format->stored_bits = kBitsPerByte;
  }
  for (ExtraOperation& extra : model.extras) extra.format.stored_bits = kBitsPerByte;
  return WeightBytesPerGpu(model, p).count();
}

bool Fits(const MemoryPlan& plan) {
  const double sequence = plan.kv_bytes_per_token + plan.kv_bytes_per_sequence;
  return (plan.kv_tokens >= 1 && plan.kv_budget.count() >= sequence) ||
         (plan.kv_bytes_per_token == 0 && plan.kv_budget.count() >= 0);
}

/// The fewest GPUs of this kind that hold the model, keeping the number of attention groups and
/// spreading experts as widely as the model allows.
std::optional<Parallelism> SmallestThatFits(const ModelSpec& model, const Parallelism& p,
                                            const DeviceSpec& device, const KvPlan& kv,
                                            const MemoryLimits& limits) {
  for (int64_t tensor = 1; tensor * p.data <= kLargestReplica; ++tensor) {
    Parallelism candidate{.tensor = tensor, .data = p.data, .expert = 1};
    for (int64_t expert = model.moe ? candidate.gpus() : 1; expert >= 1; --expert) {
      if (candidate.gpus() % expert != 0) continue;
      candidate.expert = expert;
      if (!CheckParallelism(model, candidate).ok()) continue;
      if (Fits(Lay(model, candidate, device, kv, limits))) return candidate;
      break;  // expert and tensor split routed experts equally; fewer groups cannot help
    }
  }
  return std::nullopt;
}

std::string WhatWouldFit(const ModelSpec& model, const Parallelism& p, const DeviceSpec& device,
                         const KvPlan& kv, const MemoryLimits& limits) {
  std::string text;
  if (const auto fit = SmallestThatFits(model, p, device, kv, limits)) {
    text += "tensor: " + std::to_string(fit->tensor) + ", data: " + std::to_string(fit->data) +
            ", expert: " + std::to_string(fit->expert) + " would fit on " + device.name;
  } else {
    text += "no number of " + device.name + " GPUs up to " + std::to_string(kLargestReplica) +
            " would fit";
  }
  const MemoryPlan plan = Lay(model, p, device, kv, limits);
  const double room = plan.weights.count() + plan.kv_budget.count() - plan.kv_bytes_per_token -
                      plan.kv_bytes_per_sequence;
  if (room > 0) {
    const double elements = WeightElementsPerGpu(model, p);
    text += "; or, on the same GPUs, weights stored in at most " +
            Fixed(std::floor(room / elements * kBitsPerByte * kDecimal) / kDecimal, 1) +
            " bits each instead of " + Fixed(plan.weights.count() / elements * kBitsPerByte, 1);
  }
  return text;
}

}  // namespace

Bytes WeightBytesPerGpu(const ModelSpec& model, const Parallelism& parallelism) {
  const int64_t tensor = parallelism.tensor;
  const WeightFormats& formats = model.formats;
  const int64_t linear_layers = model.attention_layer_count(AttentionKind::kLinear);
  const int64_t moe_layers = model.moe_layer_count();
  const double softmax = std::visit(
      [&](const auto& a) { return AttentionElements(model, a, tensor); }, model.attention);
  const double linear =
      model.linear_attention ? AttentionElements(model, *model.linear_attention, tensor) : 0;
  const double attention = static_cast<double>(model.layer_count() - linear_layers) * softmax +
                           static_cast<double>(linear_layers) * linear;
  const double dense = Elements(model.layer_count() - moe_layers, kSwigluMatrices) *
                       Elements(model.hidden, model.dense_intermediate / tensor);
  const double table = Elements(model.vocabulary, model.hidden) / static_cast<double>(tensor);
  const double head = model.tied_embeddings ? 0 : formats.of_lm_head().bytes_per_element();
  double bytes = attention * formats.attention.bytes_per_element() +
                 dense * formats.dense_ffn.bytes_per_element() +
                 table * (formats.embeddings.bytes_per_element() + head) + ExtraBytes(model);
  if (moe_layers > 0) bytes += static_cast<double>(moe_layers) * MoeLayerBytes(model, parallelism);
  return Bytes(bytes);
}

Result<MemoryPlan> PlanMemory(const ModelSpec& model, const Parallelism& parallelism,
                              const DeviceSpec& device, const KvPlan& kv,
                              const MemoryLimits& limits) {
  const MemoryPlan plan = Lay(model, parallelism, device, kv, limits);
  if (Fits(plan)) return plan;
  const double usable = device.hbm_capacity.count() * limits.memory_fraction;
  const double missing =
      plan.kv_bytes_per_token + plan.kv_bytes_per_sequence - plan.kv_budget.count();
  std::string message = "model '" + model.name + "' does not fit on " + device.name + ": weights " +
                        HumanBytes(plan.weights.count()) + " + reserved " +
                        HumanBytes(plan.reserved.count());
  if (plan.state.count() > 0) message += " + state " + HumanBytes(plan.state.count());
  message += " per GPU leave no room for KV cache in " + HumanBytes(usable) + " (" +
             Fixed(limits.memory_fraction, 2) + " of " + HumanBytes(device.hbm_capacity.count()) +
             "), " + HumanBytes(missing) + " too much; " +
             WhatWouldFit(model, parallelism, device, kv, limits);
  return Error{.message = message, .where = "parallelism"};
}

}  // namespace moecast
