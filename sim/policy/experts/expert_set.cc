#include "sim/policy/experts/expert_set.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <numeric>

#include "sim/base/check.h"
#include "sim/policy/experts/expert_set_loops.h"

namespace moecast {
namespace {

constexpr int64_t kWordBits = 64;
constexpr size_t kTokensAtOnce = 4;

struct LayerSet {
  std::span<uint64_t> words;
  std::span<uint32_t> utilities;  // [expert]; empty before SumWeights
};

LayerSet SetOf(const RankedShape& shape, int64_t layer, BatchScratch& scratch) {
  const auto words = static_cast<size_t>(SetWords(shape));
  LayerSet set{.words = std::span(scratch.sets).subspan(static_cast<size_t>(layer) * words, words),
               .utilities = {}};
  const auto first = static_cast<size_t>(layer * UtilityStride(shape));
  const auto experts = static_cast<size_t>(shape.experts);
  if (first + experts <= scratch.utilities.size()) {
    set.utilities = std::span(scratch.utilities).subspan(first, experts);
  }
  return set;
}

int64_t Members(std::span<const uint64_t> words) {
  return std::transform_reduce(words.begin(), words.end(), int64_t{0}, std::plus<>(),
                               [](uint64_t word) { return std::popcount(word); });
}

/// Adds what is above `threshold` and the first `ties` experts that equal it to a layer's set.
/// An expert of utility 0 was ranked by no token and is not added.
void AddFrom(const LayerSet& set, uint32_t threshold, int64_t ties) {
  for (size_t w = 0; w * kWordBits < set.utilities.size(); ++w) {
    const auto part = set.utilities.subspan(
        w * kWordBits, std::min<size_t>(kWordBits, set.utilities.size() - w * kWordBits));
    uint64_t above = 0;
    uint64_t equal = 0;
    for (size_t e = 0; e < part.size(); ++e) {
      above |= uint64_t{part[e] > threshold ? 1U : 0U} << e;
      equal |= uint64_t{part[e] == threshold ? 1U : 0U} << e;
    }
    set.words[w] |= above;
    if (threshold == 0) continue;
    for (; equal != 0 && ties > 0; equal &= equal - 1, --ties) set.words[w] |= equal & (~equal + 1);
  }
}

}  // namespace

uint16_t ScoreWeight(float score) {
  constexpr float kUnits = 65535;
  return static_cast<uint16_t>(std::lround(std::clamp(score, 0.0F, 1.0F) * kUnits));
}

const ExpertSetLoops& BestExpertSetLoops() {
#ifdef MOECAST_X86_EXPERT_SETS
  if (const ExpertSetLoops* loops = Avx2ExpertSetLoops()) return *loops;
#endif
  return PortableExpertSetLoops();
}

void StartSets(const RankedBatch& batch, BatchScratch& scratch) {
  const RankedShape& shape = batch.shape;
  const auto row_words = static_cast<size_t>(shape.row_words());
  scratch.set_row.assign(row_words, 0);
  uint64_t* const all = scratch.set_row.data();
  size_t token = 0;
  for (; token + kTokensAtOnce <= batch.rows.size(); token += kTokensAtOnce) {
    const RankedRow* const rows = batch.rows.data() + token;
    for (size_t w = 0; w < row_words; ++w) {
      all[w] |= rows[0].best[w] | rows[1].best[w] | rows[2].best[w] | rows[3].best[w];
    }
  }
  for (; token < batch.rows.size(); ++token) {
    for (size_t w = 0; w < row_words; ++w) all[w] |= batch.rows[token].best[w];
  }
  const auto words = static_cast<size_t>(SetWords(shape));
  scratch.sets.assign(static_cast<size_t>(shape.moe_layers) * words, 0);
  const auto* from = reinterpret_cast<const char*>(all);
  for (int64_t layer = 0; layer < shape.moe_layers; ++layer) {
    std::memcpy(scratch.sets.data() + static_cast<size_t>(layer) * words,
                from + layer * shape.cell_bytes(), static_cast<size_t>(shape.cell_bytes()));
  }
}

void SumWeights(const RankedBatch& batch, BatchScratch& scratch) {
  const RankedShape& shape = batch.shape;
  const int64_t stride = UtilityStride(shape);
  const int64_t rank_stride = shape.rank_stride();
  scratch.utilities.assign(static_cast<size_t>(shape.moe_layers * stride), 0);
  if (scratch.open.empty()) return;
  for (const RankedRow& row : batch.rows) {
    for (const int64_t layer : scratch.open) {
      uint32_t* const utilities = scratch.utilities.data() + layer * stride;
      const uint16_t* const ids = row.ids + layer * rank_stride;
      const uint16_t* const weights = row.weights + layer * rank_stride;
      for (int64_t block = 0; block < rank_stride; block += kRankBlock) {
#pragma GCC unroll 16
        for (int64_t i = 0; i < kRankBlock; ++i) utilities[ids[block + i]] += weights[block + i];
      }
    }
  }
}

void FillByBudget(const RankedBatch& batch, int64_t experts, BatchScratch& scratch) {
  const RankedShape& shape = batch.shape;
  scratch.open.clear();
  for (int64_t layer = 0; layer < shape.moe_layers; ++layer) {
    if (Members(SetOf(shape, layer, scratch).words) < experts) scratch.open.push_back(layer);
  }
  SumWeights(batch, scratch);
  for (const int64_t layer : scratch.open) {
    const LayerSet set = SetOf(shape, layer, scratch);
    for (size_t w = 0; w < set.words.size(); ++w) {  // members are no rivals of who wants in
      for (uint64_t in = set.words[w]; in != 0; in &= in - 1) {
        set.utilities[w * kWordBits + static_cast<size_t>(std::countr_zero(in))] = 0;
      }
    }
    const int64_t left = experts - Members(set.words);
    const uint32_t threshold =
        BestExpertSetLoops().threshold_by_count(set.utilities.data(), shape.experts, left);
    const auto above =
        std::ranges::count_if(set.utilities, [threshold](uint32_t u) { return u > threshold; });
    AddFrom(set, threshold, left - above);
  }
}

void FillByMass(const RankedBatch& batch, double mass, BatchScratch& scratch) {
  const RankedShape& shape = batch.shape;
  scratch.open.resize(static_cast<size_t>(shape.moe_layers));
  std::iota(scratch.open.begin(), scratch.open.end(), int64_t{0});
  SumWeights(batch, scratch);
  for (const int64_t layer : scratch.open) {
    const LayerSet set = SetOf(shape, layer, scratch);
    uint64_t total = 0;
    for (const uint32_t u : set.utilities) total += u;
    if (total == 0) continue;
    const auto wanted = static_cast<uint64_t>(std::ceil(mass * static_cast<double>(total)));
    const uint32_t threshold =
        BestExpertSetLoops().threshold_by_sum(set.utilities.data(), shape.experts, wanted);
    uint64_t held = 0;
    for (const uint32_t u : set.utilities) held += u > threshold ? u : 0;
    const uint64_t missing = wanted > held ? wanted - held : 0;
    const uint64_t ties = threshold == 0 ? 0 : (missing + threshold - 1) / threshold;
    AddFrom(set, threshold, static_cast<int64_t>(ties));
  }
}

void TakeBestMembers(const RankedBatch& batch, const TakeLimit& limit, BatchScratch& scratch) {
  SIM_CHECK(limit.ranks >= 1 && limit.ranks <= batch.shape.ranks && limit.take >= 1);
  BestExpertSetLoops().take({.shape = batch.shape,
                             .rows = batch.rows,
                             .chosen = batch.chosen,
                             .limit = limit,
                             .sets = scratch.sets.data(),
                             .set_words = SetWords(batch.shape)});
}

}  // namespace moecast
