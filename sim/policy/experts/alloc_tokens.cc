#include "sim/policy/experts/alloc_tokens.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "sim/policy/experts/expert_set.h"
#include "sim/policy/experts/expert_set_loops.h"

namespace moecast {
namespace {

constexpr uint16_t kAlways = std::numeric_limits<uint16_t>::max();

}  // namespace

// Weights of other ranks are in [1, kAlways - 1]: 0 is left for rows that were not recorded.
uint16_t AllocTokens::Weight(const RankScore& rank) const {
  if (rank.rank < base_k) return kAlways;
  return std::clamp<uint16_t>(ScoreWeight(rank.score), 1, kAlways - 1);
}

void AllocTokens::Count(const RankedBatch& batch, BatchScratch& scratch) const {
  const RankedShape& shape = batch.shape;
  const auto tokens = static_cast<size_t>(batch.tokens());
  const auto top_k = static_cast<size_t>(shape.top_k);
  const ExpertSetLoops& loops = BestExpertSetLoops();
  ClearSets(shape, scratch);  // with a place behind the last layer: unknown rows add 0 there
  scratch.counts.push_back(0);
  scratch.values.resize(tokens * top_k);
  for (int64_t layer = 0; layer < shape.moe_layers; ++layer) {
    const int64_t row = layer * shape.rank_stride();
    size_t known = 0;  // tokens whose row was recorded
    for (size_t token = 0; token < tokens; ++token) {
      const uint16_t* const from = batch.weights[token] + row;
      std::copy_n(from, top_k, scratch.values.begin() + static_cast<int64_t>(token * top_k));
      known += from[0] != 0 ? 1 : 0;
    }
    const auto slots = static_cast<int64_t>(mean_k.At(layer) * static_cast<double>(known));
    const auto size = static_cast<int64_t>(scratch.values.size());
    const uint32_t threshold =
        std::max<uint32_t>(1, loops.threshold_by_count16(scratch.values.data(), size, slots));
    uint32_t* const counts = scratch.counts.data() + layer * shape.expert_stride();
    int64_t ties = slots;
    const uint16_t* value = scratch.values.data();
    for (size_t token = 0; token < tokens; ++token) {
      const uint16_t* const ids = batch.ids[token] + row;
      for (size_t rank = 0; rank < top_k; ++rank) {
        const uint32_t above = *value++ > threshold ? 1 : 0;  // no branch: half of them are
        counts[ids[rank]] += above;
        ties -= above;
      }
    }
    auto tie = scratch.values.begin();
    for (; ties > 0; --ties, ++tie) {
      tie = std::find(tie, scratch.values.end(), threshold);
      if (tie == scratch.values.end()) break;
      const auto at = static_cast<size_t>(tie - scratch.values.begin());
      ++counts[batch.ids[at / top_k][row + static_cast<int64_t>(at % top_k)]];
    }
  }
  scratch.counts.pop_back();
}

}  // namespace moecast
