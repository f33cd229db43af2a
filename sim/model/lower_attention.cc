// The attention half of Lowering: GQA, sliding window, MLA and linear attention.
#include <algorithm>

#include "sim/base/check.h"
#include "sim/model/lower.h"

namespace moecast {
namespace {

/// Work of one attention kind in one step, after cutting spans to the window where there is one.
struct CacheSpans {
  int64_t layers = 0;
  double prefill_pairs = 0;
  int64_t prefill_context = 0;
  int64_t decode_context = 0;
  int64_t window = 0;  // tokens; 0: none
};

/// What one attention kernel moves and computes per token on this rank.
struct KernelShape {
  int64_t heads = 0;
  double kv_bytes_per_token = 0;
  double query_bytes_per_token = 0;
  double flops_per_pair = 0;
  KvLayout kv{};
};

/// The longest span of a sequence of `tokens` cached tokens.
int64_t Longest(const CacheSpans& spans, int64_t tokens) {
  return spans.window > 0 ? std::min(tokens, spans.window) : tokens;
}

void PushPrefill(const AttentionLoad& load, const CacheSpans& spans, const KernelShape& kernel,
                 std::vector<CountedOp>& ops) {
  if (load.prefill_tokens == 0 || spans.layers == 0) return;
  ops.push_back({.op = PrefillAttention{.tokens = load.prefill_tokens,
                                        .pairs = spans.prefill_pairs,
                                        .context = spans.prefill_context,
                                        .longest_context = load.prefill_longest,
                                        .heads = kernel.heads,
                                        .kv_bytes_per_token = kernel.kv_bytes_per_token,
                                        .query_bytes_per_token = kernel.query_bytes_per_token,
                                        .flops_per_pair = kernel.flops_per_pair,
                                        .kv = kernel.kv},
                 .count = spans.layers});
}

void PushDecode(const AttentionLoad& load, const CacheSpans& spans, const KernelShape& kernel,
                std::vector<CountedOp>& ops) {
  if (load.decode_sequences == 0 || spans.layers == 0) return;
  ops.push_back({.op = DecodeAttention{.sequences = load.decode_sequences,
                                       .context = spans.decode_context,
                                       .longest_context = Longest(spans, load.decode_longest),
                                       .heads = kernel.heads,
                                       .kv_bytes_per_token = kernel.kv_bytes_per_token,
                                       .query_bytes_per_token = kernel.query_bytes_per_token,
                                       .flops_per_context_token = kernel.flops_per_pair,
                                       .kv = kernel.kv},
                 .count = spans.layers});
}

/// FLOPs of QK^T and PV for one (query, key) pair: a multiply and an add per element.
double PairFlops(int64_t heads, int64_t query_dim, int64_t value_dim) {
  return 2.0 * static_cast<double>(heads) * static_cast<double>(query_dim + value_dim);
}

}  // namespace

void Lowering::LowerProjections(int64_t rows, std::vector<CountedOp>& ops) const {
  if (full_layers_ + window_layers_ == 0) return;
  if (const auto* gqa = std::get_if<GqaAttention>(&model_->attention)) {
    LowerGqaProjections(rows, *gqa, ops);
  } else {
    LowerMlaProjections(rows, std::get<MlaAttention>(model_->attention), ops);
  }
}

void Lowering::LowerGqaProjections(int64_t rows, const GqaAttention& a,
                                   std::vector<CountedOp>& ops) const {
  const int64_t layers = full_layers_ + window_layers_;
  const int64_t heads = a.heads / parallelism_.tensor;
  const int64_t kv_heads = std::max<int64_t>(1, a.kv_heads / parallelism_.tensor);
  const int64_t values = heads * a.value_head_dim;
  const int64_t gate = model_->attention_output_gate ? values : 0;
  const TensorFormat* format = &model_->formats.attention;
  ops.push_back(
      {.op = Gemm{.role = GemmRole::kQkv,
                  .rows = rows,
                  .n = heads * a.head_dim + gate + kv_heads * (a.head_dim + a.value_head_dim),
                  .k = model_->hidden,
                  .format = format,
                  .activation_bytes = activation_bytes_,
                  .read = model_->reads.attention},
       .count = layers});
  ops.push_back(
      {.op = Elementwise{.role = ElementwiseRole::kRope,
                         .rows = rows,
                         .bytes_per_row = ActivationBytes(2, (heads + kv_heads) * a.head_dim)},
       .count = layers});
  ops.push_back({.op = Gemm{.role = GemmRole::kAttentionOut,
                            .rows = rows,
                            .n = model_->hidden,
                            .k = values,
                            .format = format,
                            .activation_bytes = activation_bytes_,
                            .read = model_->reads.attention},
                 .count = layers});
}

void Lowering::LowerMlaProjections(int64_t rows, const MlaAttention& a,
                                   std::vector<CountedOp>& ops) const {
  const int64_t layers = full_layers_ + window_layers_;
  const int64_t heads = a.heads / parallelism_.tensor;
  const int64_t queries = heads * (a.qk_nope_head_dim + a.qk_rope_head_dim);
  const int64_t latent = a.kv_lora_rank + a.qk_rope_head_dim;
  const auto gemm = [&](GemmRole role, int64_t n, int64_t k) {
    ops.push_back({.op = Gemm{.role = role,
                              .rows = rows,
                              .n = n,
                              .k = k,
                              .format = &model_->formats.attention,
                              .activation_bytes = activation_bytes_,
                              .read = model_->reads.attention},
                   .count = layers});
  };
  // The down-projections are replicated on every tensor rank.
  gemm(GemmRole::kMlaDown, a.q_lora_rank.value_or(0) + latent, model_->hidden);
  gemm(GemmRole::kMlaQueryUp, queries, a.q_lora_rank.value_or(model_->hidden));
  ops.push_back(
      {.op = Elementwise{.role = ElementwiseRole::kRope,
                         .rows = rows,
                         .bytes_per_row = ActivationBytes(2, (heads + 1) * a.qk_rope_head_dim)},
       .count = layers});
  gemm(GemmRole::kAttentionOut, model_->hidden, heads * a.v_head_dim);
}

void Lowering::LowerCache(const StepShape& step, const AttentionLoad& load,
                          std::vector<CountedOp>& ops) const {
  if (full_layers_ + window_layers_ > 0 && load.tokens() > 0) {
    if (const auto* gqa = std::get_if<GqaAttention>(&model_->attention)) {
      LowerGqaCache(load, *gqa, ops);
    } else {
      LowerMlaCache(step, load, std::get<MlaAttention>(model_->attention), ops);
    }
  }
  if (linear_layers_ > 0) LowerLinearAttention(step, load, ops);
}

void Lowering::LowerGqaCache(const AttentionLoad& load, const GqaAttention& a,
                             std::vector<CountedOp>& ops) const {
  const int64_t heads = a.heads / parallelism_.tensor;
  const int64_t kv_heads = std::max<int64_t>(1, a.kv_heads / parallelism_.tensor);
  const int64_t kv_elements = kv_heads * (a.head_dim + a.value_head_dim);
  const double kv_bytes = static_cast<double>(kv_elements) * kv_.bytes_per_element();
  const KvLayout layout{.scheme = kv_.name,
                        .kv_heads = kv_heads,
                        .head_dim = a.head_dim,
                        .value_head_dim = a.value_head_dim,
                        .key_bits = kv_.stored_bits,
                        .value_bits = kv_.stored_bits};
  const KernelShape kernel{
      .heads = heads,
      .kv_bytes_per_token = kv_bytes,
      .query_bytes_per_token = ActivationBytes(1, heads * (a.head_dim + a.value_head_dim)),
      .flops_per_pair = PairFlops(heads, a.head_dim, a.value_head_dim),
      .kv = layout};
  const CacheSpans full{.layers = full_layers_,
                        .prefill_pairs = load.prefill_pairs,
                        .prefill_context = load.prefill_context,
                        .decode_context = load.decode_context};
  const CacheSpans window{.layers = window_layers_,
                          .prefill_pairs = load.prefill_pairs_window,
                          .prefill_context = load.prefill_context_window,
                          .decode_context = load.decode_context_window,
                          .window = model_->sliding_window};
  ops.push_back({.op = KvAppend{.tokens = load.tokens(),
                                .bytes_per_token = ActivationBytes(1, kv_elements) + kv_bytes,
                                .kv = layout},
                 .count = full_layers_ + window_layers_});
  for (const CacheSpans& spans : {full, window}) {
    PushPrefill(load, spans, kernel, ops);
    PushDecode(load, spans, kernel, ops);
  }
}

void Lowering::LowerMlaCache(const StepShape& step, const AttentionLoad& load,
                             const MlaAttention& a, std::vector<CountedOp>& ops) const {
  const int64_t layers = full_layers_ + window_layers_;
  const int64_t heads = a.heads / parallelism_.tensor;
  const int64_t latent = a.kv_lora_rank + a.qk_rope_head_dim;
  const int64_t query_dim = a.qk_nope_head_dim + a.qk_rope_head_dim;
  const double latent_bytes = static_cast<double>(latent) * kv_.bytes_per_element();
  const KvLayout layout{.scheme = kv_.name,
                        .latent = true,
                        .kv_heads = 1,
                        .head_dim = latent,
                        .value_head_dim = a.kv_lora_rank,
                        .key_bits = kv_.stored_bits,
                        .value_bits = kv_.stored_bits};
  const auto gemm = [&](GemmRole role, int64_t rows, int64_t n, int64_t k, int64_t batch) {
    ops.push_back({.op = Gemm{.role = role,
                              .rows = rows,
                              .n = n,
                              .k = k,
                              .batch = batch,
                              .format = &model_->formats.attention,
                              .activation_bytes = activation_bytes_},
                   .count = layers});
  };
  ops.push_back({.op = KvAppend{.tokens = load.tokens(),
                                .bytes_per_token = ActivationBytes(1, latent) + latent_bytes,
                                .kv = layout},
                 .count = layers});
  const CacheSpans spans{.layers = layers,
                         .prefill_pairs = load.prefill_pairs,
                         .prefill_context = load.prefill_context,
                         .decode_context = load.decode_context};
  if (load.prefill_tokens > 0) {  // keys and values are rebuilt for every cached token read
    gemm(GemmRole::kMlaKeyValueUp, load.prefill_context,
         heads * (a.qk_nope_head_dim + a.v_head_dim), a.kv_lora_rank, 1);
    PushPrefill(load, spans,
                {.heads = heads,
                 .kv_bytes_per_token = ActivationBytes(1, heads * (query_dim + a.v_head_dim)),
                 .query_bytes_per_token = ActivationBytes(1, heads * (query_dim + a.v_head_dim)),
                 .flops_per_pair = PairFlops(heads, query_dim, a.v_head_dim),
                 .kv = layout},
                ops);
  }
  if (load.decode_sequences > 0) {  // queries move into latent space instead
    const int64_t rows = step.graph ? step.rows_per_group : load.decode_sequences;
    gemm(GemmRole::kMlaAbsorbQuery, rows, a.kv_lora_rank, a.qk_nope_head_dim, heads);
    PushDecode(load, spans,
               {.heads = heads,
                .kv_bytes_per_token = latent_bytes,
                .query_bytes_per_token = ActivationBytes(1, heads * (latent + a.kv_lora_rank)),
                .flops_per_pair = PairFlops(heads, latent, a.kv_lora_rank),
                .kv = layout},
               ops);
    gemm(GemmRole::kMlaAbsorbValue, rows, a.v_head_dim, a.kv_lora_rank, heads);
  }
}

void Lowering::LowerLinearAttention(const StepShape& step, const AttentionLoad& load,
                                    std::vector<CountedOp>& ops) const {
  const LinearAttention& a = *model_->linear_attention;
  const int64_t tensor = parallelism_.tensor;
  const int64_t keys = a.key_heads * a.key_head_dim / tensor;
  const int64_t value_heads = a.value_heads / tensor;
  const int64_t values = value_heads * a.value_head_dim;
  const int64_t rows = step.rows_per_group;
  const auto gemm = [&](GemmRole role, int64_t n, int64_t k) {
    ops.push_back({.op = Gemm{.role = role,
                              .rows = rows,
                              .n = n,
                              .k = k,
                              .format = &model_->formats.attention,
                              .activation_bytes = activation_bytes_,
                              .read = model_->reads.attention},
                   .count = linear_layers_});
  };
  gemm(GemmRole::kLinearAttentionIn, 2 * keys + 2 * values + 2 * value_heads, model_->hidden);
  const int64_t state = values * a.key_head_dim;
  const int64_t convolution = (2 * keys + values) * (a.conv_width - 1);
  // Read the state against the key, add the correction, read it against the query: three
  // multiply-adds per state element and token.
  const double flops_per_token = 2.0 * (1 + 1 + 1) * static_cast<double>(state);
  ops.push_back({.op =
                     LinearAttentionScan{
                         .sequences = load.decode_sequences + load.prefill_chunks,
                         .tokens = load.tokens(),
                         .state_bytes_per_sequence = ActivationBytes(2, state + convolution),
                         .bytes_per_token = ActivationBytes(1, 2 * keys + 2 * values + values),
                         .flops_per_token = flops_per_token},
                 .count = linear_layers_});
  gemm(GemmRole::kLinearAttentionOut, model_->hidden, values);
}

}  // namespace moecast
