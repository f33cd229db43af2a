// StepShape: what a batch looks like to the GPUs. Token counts and histograms; no request identity.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "sim/model/selection_kind.h"

namespace moecast {

/// Work of one MoE layer on one expert-parallel rank in one step: the cost's view of the realised
/// histogram n_e, e over the rank's experts. Doubles, because the closed-form uniform source gives
/// expectations; replayed routing gives exact integers.
struct ExpertLoad {
  double assignments = 0;  // A = sum_e n_e
  double distinct = 0;     // D = #{e : n_e > 0}
  double padded_rows = 0;  // P = sum_e ceil(n_e / tile) * tile
  double max_expert = 0;   // m = max_e n_e
  // Of D and P, the part of experts stored in the mix's format (WeightFormats::mix); 0 without one.
  double mixed_distinct = 0;
  double mixed_padded_rows = 0;
  friend bool operator==(const ExpertLoad&, const ExpertLoad&) = default;
};

/// Ways to keep a sequence that one replica may use side by side, and ages at which tokens of a
/// sequence change their code.
inline constexpr size_t kMostKvStores = 2;
inline constexpr size_t kMostKvBoundaries = 4;

/// The part of an AttentionLoad that one KV store holds. Sums over its sequences; arrays are by
/// boundary of the store (KvStore::boundaries).
struct KvSplit {
  int64_t prefill_tokens = 0;
  double prefill_pairs = 0;
  double prefill_pairs_window = 0;
  int64_t prefill_context = 0;
  int64_t prefill_context_window = 0;
  int64_t decode_sequences = 0;
  int64_t decode_context = 0;
  int64_t decode_context_window = 0;
  std::array<int64_t, kMostKvBoundaries> prefill_older{};  // tokens past the boundary, of past ones
  std::array<int64_t, kMostKvBoundaries> decode_older{};   // of decode_context
  std::array<int64_t, kMostKvBoundaries> decode_older_window{};  // of decode_context_window
  std::array<int64_t, kMostKvBoundaries> moved{};  // tokens that pass the boundary in this step
  std::array<int64_t, kMostKvBoundaries> chunk_moved{};  // of them, tokens of prefill's sequences
  friend bool operator==(const KvSplit&, const KvSplit&) = default;
};

/// Attention work of one attention-data-parallel group in one step. Sums over its sequences.
struct AttentionLoad {
  int64_t prefill_tokens = 0;  // query tokens of prefill chunks
  int64_t prefill_chunks = 0;
  double prefill_pairs = 0;  // sum over chunk tokens of the positions each attends to (causal)
  double prefill_pairs_window = 0;     // same, with each token's span cut to the sliding window
  int64_t prefill_context = 0;         // sum over chunks of cached tokens read (past + chunk)
  int64_t prefill_context_window = 0;  // same, at most window + chunk each
  int64_t prefill_longest = 0;         // largest of prefill_context's terms
  int64_t decode_sequences = 0;        // one query token each
  int64_t decode_context = 0;          // sum of cached tokens read, the new token included
  int64_t decode_context_window = 0;   // same, at most `window` each
  int64_t decode_longest = 0;          // largest of decode_context's terms
  // Filled where the cache is more than one format of every token (KvPlan::plain() is false).
  int64_t decode_attended = 0;   // of decode_context, what a token budget lets queries attend to
  int64_t converted_tokens = 0;  // rewritten from the first KV store to the second
  std::array<KvSplit, kMostKvStores> kv{};

  [[nodiscard]] int64_t tokens() const { return prefill_tokens + decode_sequences; }
  friend bool operator==(const AttentionLoad&, const AttentionLoad&) = default;
};

/// One step of one replica. Spans point into the caller's buffers.
struct StepShape {
  /// One per attention-data-parallel group, size Parallelism::data.
  std::span<const AttentionLoad> attention{};
  /// Rows each group's GEMMs run, padding included: max over groups of the padded token count.
  int64_t rows_per_group = 0;
  /// Sequences per group that need logits (decodes and last prefill chunks), padding included.
  int64_t logit_rows_per_group = 0;
  /// Real tokens over all groups.
  int64_t tokens = 0;
  /// True when the step replays a captured CUDA graph, false when it is launched op by op.
  bool graph = false;
  /// [moe_layer][expert_rank]: moe_layer-major, size moe_layers * Parallelism::expert.
  std::span<const ExpertLoad> experts{};
  /// The rule that chose them, for what its kernel adds to routing.
  SelectionKind selection = SelectionKind::kNative;
};

}  // namespace moecast
