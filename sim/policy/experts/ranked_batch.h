// RankedBatch: what a batch-level rule of expert selection sees. All tokens of a step at all MoE
// layers, each with its experts best first: the native top-k and, where routing has them, the next
// ones, which a rule may send the token to. A rule is a value with
//   static constexpr bool kNeedsScores    whether Weight reads scores
//   static constexpr bool kHasWeights     whether it adds anything up
//   int64_t RanksWanted(int64_t top_k) const
//                                         ranks a row must have; above top_k: further ranks
//   int64_t BestRanks(int64_t top_k) const
//                                         of a row, that are in the step's set whatever the others
//   uint16_t Weight(const RankScore&) const
//                                         what of a rank the rule adds up; computed once, when
//                                         routing is loaded
//   void Choose(const RankedBatch&, BatchScratch&) const
//                                         the experts of every token under the rule
// docs/model/expert_rules.md has the equations.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace moecast {

/// Ranks are padded to a multiple of this, so that a row is whole vectors.
inline constexpr int64_t kRankBlock = 16;
/// Experts of a layer are padded to a multiple of this in counts and in bit rows.
inline constexpr int64_t kExpertBlock = 16;

// Always inlined, like the strides below: files compiled for a newer CPU use them too, and a copy
// of theirs must not be linked into the others.
[[gnu::always_inline]] constexpr int64_t RoundUp(int64_t value, int64_t block) {
  return (value + block - 1) / block * block;
}

/// The shape of ranked rows. The id `experts` means no expert: it pads, and fills unknown rows.
struct RankedShape {
  int64_t moe_layers = 0;
  int64_t experts = 0;
  int64_t top_k = 0;  // native
  int64_t ranks = 0;  // recorded, >= top_k
  [[nodiscard, gnu::always_inline]] int64_t rank_stride() const {
    return RoundUp(ranks, kRankBlock);
  }
  [[nodiscard, gnu::always_inline]] int64_t expert_stride() const {
    return RoundUp(experts, kExpertBlock);
  }
  /// Bytes between two layers of a bit row.
  [[nodiscard, gnu::always_inline]] int64_t cell_bytes() const { return expert_stride() / 8; }
  /// Words of a bit row: whole cache lines.
  [[nodiscard, gnu::always_inline]] int64_t row_words() const {
    return RoundUp(moe_layers * expert_stride(), 512) / 64;
  }
  friend bool operator==(const RankedShape&, const RankedShape&) = default;
};

/// One rank of one row. `score` and `best`, the row's best score, are 0 where none are recorded.
struct RankScore {
  int64_t moe_layer = 0;
  int64_t rank = 0;  // from 0
  float score = 0;
  float best = 0;
};

/// A score in [0, 1] as the nearest multiple of 1 / 65535; what lies outside is moved to the ends.
/// Sums of weights are sums of whole numbers, so their order does not matter.
uint16_t ScoreWeight(float score);

/// One token. Bit rows have row_words() words; expert e of layer l is bit l * expert_stride() + e,
/// as in a replay table. Reading up to 16 bytes past them is allowed.
struct RankedRow {
  const uint16_t* ids = nullptr;      // [moe_layer][rank_stride]
  const uint16_t* weights = nullptr;  // [moe_layer][rank_stride]; null when no rule needs them
  const uint16_t* scores = nullptr;   // the same as ScoreWeight; null when none are recorded
  const uint64_t* native = nullptr;   // bits of the top-k
  const uint64_t* best = nullptr;     // bits of BestRanks
  const uint64_t* ranked = nullptr;   // bits of all recorded ranks
  const uint8_t* order = nullptr;     // [moe_layer][rank_stride] ranks, in the order of `ranked`
};

/// The tokens of one step, and where the rule writes their experts.
struct RankedBatch {
  RankedShape shape;
  std::span<const RankedRow> rows;    // [token]
  std::span<uint64_t* const> chosen;  // [token] bit rows; writing 32 bytes past them is allowed
  [[nodiscard]] int64_t tokens() const { return std::ssize(rows); }
};

/// Buffers of a rule, reused from step to step.
struct BatchScratch {
  std::vector<uint64_t> set_row;    // a bit row
  std::vector<uint64_t> sets;       // [moe_layer][SetWords]
  std::vector<uint32_t> utilities;  // [moe_layer][experts and one place for none, padded]
  std::vector<int64_t> open;        // layers
  // Of AllocTokens.
  std::vector<uint16_t> values;      // [moe_layer][token][top-k, padded]
  std::vector<uint16_t> thresholds;  // [moe_layer]
  std::vector<int64_t> known;        // [moe_layer]
};

/// The bit rows and the order of a token whose ids are given; `best_ranks` as from the rule.
struct RankMarks {
  std::span<uint64_t> best;    // row_words() zeros
  std::span<uint64_t> ranked;  // row_words() zeros
  std::span<uint8_t> order;    // moe_layers * rank_stride()
};
void FillMarks(const RankedShape& shape, const uint16_t* ids, int64_t best_ranks,
               const RankMarks& marks);

}  // namespace moecast
