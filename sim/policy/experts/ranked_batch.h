// RankedBatch: what a batch-level rule of expert selection sees. All tokens of a step at all MoE
// layers, each with its experts best first: the native top-k and, where routing has them, the next
// ones, which a rule may send the token to. A rule is a value with
//   static constexpr bool kNeedsScores    whether Weight reads scores
//   int64_t RanksWanted(int64_t top_k) const
//                                         ranks a row must have; above top_k: further ranks
//   uint16_t Weight(const RankScore&) const
//                                         what of a rank the rule adds up; computed once, when
//                                         routing is loaded
//   void Count(const RankedBatch&, BatchScratch&) const
//                                         tokens per expert and layer under the rule
// docs/model/expert_rules.md has the equations.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace moecast {

/// Ranks are padded to a multiple of this, so that a row is whole vectors.
inline constexpr int64_t kRankBlock = 16;
/// Experts of a layer are padded to a multiple of this in counts, as in bit rows.
inline constexpr int64_t kExpertBlock = 16;

constexpr int64_t RoundUp(int64_t value, int64_t block) {
  return (value + block - 1) / block * block;
}

/// The shape of ranked rows. The id `experts` means no expert: it pads, and fills unknown rows.
struct RankedShape {
  int64_t moe_layers = 0;
  int64_t experts = 0;
  int64_t top_k = 0;  // native
  int64_t ranks = 0;  // recorded, >= top_k
  [[nodiscard]] int64_t rank_stride() const { return RoundUp(ranks, kRankBlock); }
  [[nodiscard]] int64_t expert_stride() const { return RoundUp(experts, kExpertBlock); }
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

/// The tokens of one step. Rows are [moe_layer][rank_stride].
struct RankedBatch {
  RankedShape shape;
  std::span<const uint16_t* const> ids;      // [token]
  std::span<const uint16_t* const> weights;  // [token]; empty when no rule needs them
  [[nodiscard]] int64_t tokens() const { return std::ssize(ids); }
};

/// Buffers of a rule, reused from step to step.
struct BatchScratch {
  std::vector<uint32_t> counts;     // [moe_layer][expert_stride]: the result
  std::vector<uint8_t> members;     // [moe_layer][member stride]: 1 for an expert of the set
  std::vector<uint32_t> utilities;  // [moe_layer][member stride]
  std::vector<uint8_t> member_bits;
  std::vector<uint16_t> packed;
  std::vector<uint16_t> values;  // of one layer
  std::vector<uint16_t> targets;
};

}  // namespace moecast
