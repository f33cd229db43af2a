// The cache half of Lowering: attention over cached keys and values, and what is written to them.
// docs/model/kv.md.
#include <algorithm>

#include "sim/model/lower.h"

namespace moecast {
namespace {

constexpr double kBitsPerByte = 8;

/// Layers of one class that attend alike: to everything, or to a sliding window.
struct CacheSpans {
  int64_t layers = 0;
  double prefill_pairs = 0;
  int64_t prefill_context = 0;
  int64_t decode_context = 0;
  const std::array<int64_t, kMostKvBoundaries>* decode_older = nullptr;
  int64_t window = 0;  // tokens; 0: none
};

/// What one attention kernel computes per token on this rank.
struct KernelShape {
  int64_t heads = 0;
  double query_bytes_per_token = 0;
  double flops_per_pair = 0;
  KvLayout kv{};
};

/// Bytes of cache that an op reads, those in narrow codes also by width.
struct KvTraffic {
  double bytes = 0;
  std::array<double, kNarrowWidthCount> narrow{};

  void Add(const KvCode& code, double elements) {
    const double more = elements * code.read_bits() / kBitsPerByte;
    bytes += more;
    if (code.bits > kNarrowWidths.front()) return;
    for (size_t i = 0; i < narrow.size(); ++i) {
      if (code.bits == kNarrowWidths[i]) narrow[i] += more;
    }
  }
  /// `context` tokens of one side, `older` of which have passed each of its boundaries.
  void Add(const KvSide& side, const std::vector<size_t>& boundaries,
           const std::array<int64_t, kMostKvBoundaries>& older, int64_t context, double elements) {
    int64_t younger = 0;
    for (size_t i = 0; i < boundaries.size(); ++i) {
      const int64_t until = std::max(younger, context - older[boundaries[i]]);
      Add(side.bands[i].code, static_cast<double>(until - younger) * elements);
      younger = until;
    }
    Add(side.code, static_cast<double>(context - younger) * elements);
  }
};

KvTraffic Read(const KvLayerClass& layers, const KvElements& elements,
               const std::array<int64_t, kMostKvBoundaries>& older, int64_t context) {
  KvTraffic traffic;
  traffic.Add(layers.layer.keys, layers.key_boundaries, older, context, elements.keys);
  traffic.Add(layers.layer.values, layers.value_boundaries, older, context, elements.values);
  return traffic;
}

const KvCode& Youngest(const KvSide& side) {
  return side.bands.empty() ? side.code : side.bands.front().code;
}

/// Bytes that `moved` tokens of one side read and write when they pass its boundaries.
double FlushBytes(const KvSide& side, const std::vector<size_t>& boundaries,
                  const std::array<int64_t, kMostKvBoundaries>& moved, double elements) {
  double bits = 0;
  for (size_t i = 0; i < boundaries.size(); ++i) {
    const KvCode& from = side.bands[i].code;
    const KvCode& to = i + 1 < side.bands.size() ? side.bands[i + 1].code : side.code;
    bits += static_cast<double>(moved[boundaries[i]]) * (from.read_bits() + to.stored_bits());
  }
  return bits * elements / kBitsPerByte;
}

/// FLOPs of QK^T and PV for one (query, key) pair: a multiply and an add per element.
double PairFlops(int64_t heads, int64_t query_dim, int64_t value_dim) {
  return 2.0 * static_cast<double>(heads) * static_cast<double>(query_dim + value_dim);
}

/// The part of a load that store `index` of `stores` holds.
KvSplit SplitOf(const AttentionLoad& load, size_t index, size_t stores) {
  KvSplit split = load.kv[index];
  if (stores > 1) return split;
  split.prefill_tokens = load.prefill_tokens;
  split.prefill_pairs = load.prefill_pairs;
  split.prefill_pairs_window = load.prefill_pairs_window;
  split.prefill_context = load.prefill_context;
  split.prefill_context_window = load.prefill_context_window;
  split.decode_sequences = load.decode_sequences;
  split.decode_context = load.decode_context;
  split.decode_context_window = load.decode_context_window;
  return split;
}

KvLayout LayoutOf(const KvLayerClass& layers) {
  const KvLayer& layer = layers.layer;
  return {.scheme = layers.scheme,
          .key_bits = layer.keys.code.bits,
          .value_bits = layer.values.code.bits,
          .group = layer.keys.code.group,
          .residual = std::max(layer.keys.residual(), layer.values.residual())};
}

void PushDecode(const KvSplit& split, const CacheSpans& spans, int64_t longest,
                const KernelShape& kernel, const KvTraffic& traffic, std::vector<CountedOp>& ops) {
  if (split.decode_sequences == 0 || spans.layers == 0) return;
  ops.push_back(
      {.op =
           DecodeAttention{
               .sequences = split.decode_sequences,
               .context = spans.decode_context,
               .longest_context = spans.window > 0 ? std::min(longest, spans.window) : longest,
               .heads = kernel.heads,
               .kv_bytes_per_token = traffic.bytes / static_cast<double>(spans.decode_context),
               .query_bytes_per_token = kernel.query_bytes_per_token,
               .flops_per_context_token = kernel.flops_per_pair,
               .narrow_bytes = traffic.narrow,
               .kv = kernel.kv},
       .count = spans.layers});
}

void PushPrefill(const KvSplit& split, const CacheSpans& spans, const AttentionLoad& load,
                 const KernelShape& kernel, double kv_bytes_per_token,
                 std::vector<CountedOp>& ops) {
  if (split.prefill_tokens == 0 || spans.layers == 0) return;
  ops.push_back({.op = PrefillAttention{.sequences = load.prefill_chunks,
                                        .tokens = split.prefill_tokens,
                                        .pairs = spans.prefill_pairs,
                                        .context = spans.prefill_context,
                                        .longest_context = load.prefill_longest,
                                        .heads = kernel.heads,
                                        .kv_bytes_per_token = kv_bytes_per_token,
                                        .query_bytes_per_token = kernel.query_bytes_per_token,
                                        .flops_per_pair = kernel.flops_per_pair,
                                        .kv = kernel.kv},
                 .count = spans.layers});
}

}  // namespace

void Lowering::LowerCache(const StepShape& step, const AttentionLoad& load,
                          std::vector<CountedOp>& ops) const {
  if (full_layers_ + window_layers_ > 0 && load.tokens() > 0) {
    if (load.converted_tokens > 0) LowerConversion(load.converted_tokens, ops);
    if (const auto* gqa = std::get_if<GqaAttention>(&model_->attention)) {
      LowerGqaCache(load, *gqa, ops);
    } else {
      LowerMlaCache(step, load, std::get<MlaAttention>(model_->attention), ops);
    }
  }
  if (linear_layers_ > 0) LowerLinearAttention(step, load, ops);
}

void Lowering::LowerConversion(int64_t tokens, std::vector<CountedOp>& ops) const {
  const int64_t layers = full_layers_ + window_layers_;
  const double bytes = ChargeOf(kv_.stores.front(), kv_elements_).per_token +
                       ChargeOf(kv_.stores.back(), kv_elements_).per_token;
  ops.push_back({.op = KvAppend{.write = KvWrite::kConvert,
                                .tokens = tokens,
                                .bytes_per_token = bytes / static_cast<double>(layers),
                                .kv = LayoutOf(kv_.stores.back().classes.front())},
                 .count = layers});
}

void Lowering::LowerWrites(const KvSplit& split, const KvLayerClass& layers, int64_t query_elements,
                           const KvLayout& layout, std::vector<CountedOp>& ops) const {
  const KvSide& keys = layers.layer.keys;
  const KvSide& values = layers.layer.values;
  const double inputs = (kv_elements_.keys + kv_elements_.values) * activation_bytes_;
  const double written = kv_elements_.keys * Youngest(keys).stored_bits() / kBitsPerByte +
                         kv_elements_.values * Youngest(values).stored_bits() / kBitsPerByte;
  // A rotation reads and writes the queries too; keys pass through the same kernel anyway.
  const double rotated = layers.rotated ? ActivationBytes(2, query_elements) : 0;
  ops.push_back({.op = KvAppend{.tokens = split.decode_sequences + split.prefill_tokens,
                                .chunk_tokens = split.prefill_tokens,
                                .bytes_per_token = inputs + written + rotated,
                                .kv = layout},
                 .count = layers.layers()});
  if (layers.key_boundaries.empty() && layers.value_boundaries.empty()) return;
  const double flushed =
      FlushBytes(keys, layers.key_boundaries, split.moved, kv_elements_.keys) +
      FlushBytes(values, layers.value_boundaries, split.moved, kv_elements_.values);
  if (flushed <= 0) return;
  const auto most = std::max_element(split.moved.begin(), split.moved.end()) - split.moved.begin();
  const int64_t tokens = split.moved[static_cast<size_t>(most)];
  ops.push_back({.op = KvAppend{.write = KvWrite::kFlush,
                                .tokens = tokens,
                                .chunk_tokens = split.chunk_moved[static_cast<size_t>(most)],
                                .bytes_per_token = flushed / static_cast<double>(tokens),
                                .kv = layout},
                 .count = layers.layers()});
}

void Lowering::LowerSelection(const AttentionLoad& load, int64_t heads, int64_t layers,
                              std::vector<CountedOp>& ops) const {
  if (!kv_.budget || load.decode_sequences == 0 || layers == 0) return;
  const double each = static_cast<double>(heads);
  ops.push_back({.op = SelectTokens{.context = load.decode_context,
                                    .bytes_per_context_token = each * kv_.budget->predictor_bytes,
                                    .flops_per_context_token = each * kv_.budget->predictor_flops},
                 .count = layers});
}

void Lowering::LowerGqaCache(const AttentionLoad& load, const GqaAttention& a,
                             std::vector<CountedOp>& ops) const {
  const int64_t heads = a.heads / parallelism_.tensor;
  KernelShape kernel{
      .heads = heads,
      .query_bytes_per_token = ActivationBytes(1, heads * (a.head_dim + a.value_head_dim)),
      .flops_per_pair = PairFlops(heads, a.head_dim, a.value_head_dim)};
  LowerSelection(load, heads, full_layers_, ops);
  for (size_t s = 0; s < kv_.stores.size(); ++s) {
    const KvSplit split = SplitOf(load, s, kv_.stores.size());
    if (split.decode_sequences + split.prefill_tokens == 0) continue;
    const int64_t attended = kv_.budget ? load.decode_attended : split.decode_context;
    for (const KvLayerClass& layers : kv_.stores[s].classes) {
      kernel.kv = LayoutOf(layers);
      kernel.kv.kv_heads = std::max<int64_t>(1, a.kv_heads / parallelism_.tensor);
      kernel.kv.head_dim = a.head_dim;
      kernel.kv.value_head_dim = a.value_head_dim;
      LowerWrites(split, layers, heads * a.head_dim, kernel.kv, ops);
      const CacheSpans full{.layers = layers.full_layers,
                            .prefill_pairs = split.prefill_pairs,
                            .prefill_context = split.prefill_context,
                            .decode_context = attended,
                            .decode_older = &split.decode_older};
      const CacheSpans window{.layers = layers.window_layers,
                              .prefill_pairs = split.prefill_pairs_window,
                              .prefill_context = split.prefill_context_window,
                              .decode_context = split.decode_context_window,
                              .decode_older = &split.decode_older_window,
                              .window = model_->sliding_window};
      for (const CacheSpans* spans : {&full, &window}) {
        if (spans->layers == 0) continue;
        if (split.prefill_tokens > 0) {
          const KvTraffic past =
              Read(layers, kv_elements_, split.prefill_older, spans->prefill_context);
          PushPrefill(
              split, *spans, load, kernel,
              past.bytes / static_cast<double>(std::max<int64_t>(1, spans->prefill_context)), ops);
        }
        if (split.decode_sequences > 0) {
          PushDecode(split, *spans, load.decode_longest, kernel,
                     Read(layers, kv_elements_, *spans->decode_older, spans->decode_context), ops);
        }
      }
    }
  }
}

void Lowering::LowerMlaCache(const StepShape& step, const AttentionLoad& load,
                             const MlaAttention& a, std::vector<CountedOp>& ops) const {
  const int64_t layers = full_layers_ + window_layers_;
  const int64_t heads = a.heads / parallelism_.tensor;
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
  LowerMlaWrites(load, a, ops);
  if (load.prefill_tokens > 0) {  // keys and values are rebuilt for every cached token read
    if (load.prefill_context > load.prefill_tokens) LowerMlaPast(load, ops);
    gemm(GemmRole::kMlaKeyValueUp, load.prefill_context,
         heads * (a.qk_nope_head_dim + a.v_head_dim), a.kv_lora_rank, 1);
    const int64_t plain = heads * a.qk_nope_head_dim + a.qk_rope_head_dim;
    const int64_t keys = heads * (a.qk_nope_head_dim + a.qk_rope_head_dim);
    ops.push_back({.op = Elementwise{.role = ElementwiseRole::kMlaKeys,
                                     .rows = load.prefill_context,
                                     .bytes_per_row = ActivationBytes(1, plain + keys)},
                   .count = layers});
    LowerMlaAttention(load, a, Phase::kPrefill, ops);
  }
  if (load.decode_sequences > 0) {  // queries move into latent space instead
    const int64_t rows = step.graph ? step.rows_per_group : load.decode_sequences;
    gemm(GemmRole::kMlaAbsorbQuery, rows, a.kv_lora_rank, a.qk_nope_head_dim, heads);
    LowerSelection(load, heads, layers, ops);
    LowerMlaAttention(load, a, Phase::kDecode, ops);
    gemm(GemmRole::kMlaAbsorbValue, rows, a.v_head_dim, a.kv_lora_rank, heads);
  }
}

void Lowering::LowerMlaPast(const AttentionLoad& load, std::vector<CountedOp>& ops) const {
  for (size_t s = 0; s < kv_.stores.size(); ++s) {
    const KvSplit split = SplitOf(load, s, kv_.stores.size());
    if (split.prefill_context == 0) continue;
    const auto rows = static_cast<double>(split.prefill_context);
    for (const KvLayerClass& layers : kv_.stores[s].classes) {
      const KvTraffic read = Read(layers, kv_elements_, split.prefill_older, split.prefill_context);
      const double written = (kv_elements_.keys + kv_elements_.values) * activation_bytes_;
      ops.push_back({.op = Elementwise{.role = ElementwiseRole::kMlaPast,
                                       .rows = split.prefill_context,
                                       .bytes_per_row = read.bytes / rows + written},
                     .count = layers.layers()});
    }
  }
}

KvLayout Lowering::LatentLayout(const KvLayerClass& layers, const MlaAttention& a) const {
  KvLayout layout = LayoutOf(layers);
  layout.latent = true;
  layout.kv_heads = 1;
  layout.head_dim = a.kv_lora_rank + a.qk_rope_head_dim;
  layout.value_head_dim = a.kv_lora_rank;
  layout.value_bits = layout.key_bits;  // values are made of the latent
  return layout;
}

void Lowering::LowerMlaWrites(const AttentionLoad& load, const MlaAttention& a,
                              std::vector<CountedOp>& ops) const {
  for (size_t s = 0; s < kv_.stores.size(); ++s) {
    const KvSplit split = SplitOf(load, s, kv_.stores.size());
    if (split.decode_sequences + split.prefill_tokens == 0) continue;
    for (const KvLayerClass& layers : kv_.stores[s].classes) {
      LowerWrites(split, layers, a.heads / parallelism_.tensor * a.kv_lora_rank,
                  LatentLayout(layers, a), ops);
    }
  }
}

void Lowering::LowerMlaAttention(const AttentionLoad& load, const MlaAttention& a, Phase phase,
                                 std::vector<CountedOp>& ops) const {
  const int64_t heads = a.heads / parallelism_.tensor;
  const int64_t latent = a.kv_lora_rank + a.qk_rope_head_dim;
  const int64_t query_dim = a.qk_nope_head_dim + a.qk_rope_head_dim;
  const double rebuilt = ActivationBytes(1, heads * (query_dim + a.v_head_dim));
  for (size_t s = 0; s < kv_.stores.size(); ++s) {
    const KvSplit split = SplitOf(load, s, kv_.stores.size());
    const int64_t attended = kv_.budget ? load.decode_attended : split.decode_context;
    for (const KvLayerClass& layers : kv_.stores[s].classes) {
      const CacheSpans spans{.layers = layers.layers(),
                             .prefill_pairs = split.prefill_pairs,
                             .prefill_context = split.prefill_context,
                             .decode_context = attended,
                             .decode_older = &split.decode_older};
      if (phase == Phase::kPrefill) {
        PushPrefill(split, spans, load,
                    {.heads = heads,
                     .query_bytes_per_token = rebuilt,
                     .flops_per_pair = PairFlops(heads, query_dim, a.v_head_dim),
                     .kv = LatentLayout(layers, a)},
                    rebuilt, ops);
        continue;
      }
      PushDecode(split, spans, load.decode_longest,
                 {.heads = heads,
                  .query_bytes_per_token = ActivationBytes(1, heads * (latent + a.kv_lora_rank)),
                  .flops_per_pair = PairFlops(heads, latent, a.kv_lora_rank),
                  .kv = LatentLayout(layers, a)},
                 Read(layers, kv_elements_, split.decode_older, attended), ops);
    }
  }
}

}  // namespace moecast
