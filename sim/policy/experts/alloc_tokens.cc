#include "sim/policy/experts/alloc_tokens.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "sim/policy/experts/expert_set.h"
#include "sim/policy/experts/expert_set_loops.h"

namespace moecast {
namespace {

constexpr uint16_t kAlways = std::numeric_limits<uint16_t>::max();
constexpr int64_t kValueBlock = 8;

/// A line more than the values: layers a power of two apart would share the sets of the cache.
int64_t LayerStride(const RankedBatch& batch, int64_t stride) {
  constexpr int64_t kLine = 32;
  return RoundUp(batch.tokens() * stride, kLine) + kLine;
}

/// Fills values, zeros behind the top-k, and known.
void GatherValues(const RankedBatch& batch, int64_t stride, BatchScratch& scratch) {
  const RankedShape& shape = batch.shape;
  const int64_t last_block = stride - kValueBlock;
  std::array<uint16_t, kValueBlock> own{};  // ones for the native ranks of the last block
  std::fill_n(own.begin(), shape.top_k - last_block, kAlways);
  const auto mask = std::bit_cast<std::array<uint64_t, 2>>(own);
  int64_t* const known = scratch.known.data();
  uint16_t* to_token = scratch.values.data();
  for (size_t token = 0; token < batch.rows.size(); ++token) {
    const uint16_t* from = batch.rows[token].weights;
    const size_t next = std::min(token + 1, batch.rows.size() - 1);
    const uint16_t* ahead = batch.rows[next].weights;
    uint16_t* to = to_token;
    for (int64_t layer = 0; layer < shape.moe_layers; ++layer) {
      __builtin_prefetch(ahead);
      ahead += shape.rank_stride();
      known[layer] += from[0] != 0 ? 1 : 0;
      if (last_block > 0) std::copy_n(from, last_block, to);
      std::array<uint64_t, 2> last{};
      std::memcpy(last.data(), from + last_block, sizeof(last));
      last = {last[0] & mask[0], last[1] & mask[1]};
      std::memcpy(to + last_block, last.data(), sizeof(last));
      from += shape.rank_stride();
      to += LayerStride(batch, stride);
    }
    to_token += stride;
  }
}

}  // namespace

// Weights of other ranks are in [1, kAlways - 1]: 0 is left for rows that were not recorded.
uint16_t AllocTokens::Weight(const RankScore& rank) const {
  if (rank.rank < base_k) return kAlways;
  return std::clamp<uint16_t>(ScoreWeight(rank.score), 1, kAlways - 1);
}

void AllocTokens::Choose(const RankedBatch& batch, BatchScratch& scratch) const {
  const RankedShape& shape = batch.shape;
  const int64_t stride = RoundUp(shape.top_k, kValueBlock);
  const int64_t of_layer = batch.tokens() * stride;
  const int64_t layer_stride = LayerStride(batch, stride);
  scratch.values.resize(static_cast<size_t>(shape.moe_layers * layer_stride));
  scratch.known.assign(static_cast<size_t>(shape.moe_layers), 0);
  GatherValues(batch, stride, scratch);
  scratch.thresholds.resize(static_cast<size_t>(shape.moe_layers));
  for (int64_t layer = 0; layer < shape.moe_layers; ++layer) {
    // From tokens whose row was recorded to slots, and on to what the threshold leaves of them.
    int64_t& slots = scratch.known[static_cast<size_t>(layer)];
    slots = static_cast<int64_t>(mean_k.At(layer) * static_cast<double>(slots));
    const uint16_t* const values = scratch.values.data() + layer * layer_stride;
    const auto threshold = static_cast<uint16_t>(
        std::max<uint32_t>(1, BestExpertSetLoops().threshold_by_count16(values, of_layer, slots)));
    scratch.thresholds[static_cast<size_t>(layer)] = threshold;
    slots -= BestExpertSetLoops().count_above16(values, of_layer, threshold);
  }
  BestExpertSetLoops().above({.shape = shape,
                              .rows = batch.rows,
                              .chosen = batch.chosen,
                              .thresholds = scratch.thresholds.data(),
                              .ties = scratch.known.data()});
}

}  // namespace moecast
