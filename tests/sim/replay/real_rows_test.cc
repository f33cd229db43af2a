// Batch-level rules on routing that a trained model chose: the shipped trace, whose rows have 16
// ranks with scores. What the rules count must be what their statements give.
#include <gtest/gtest.h>

#include "tests/sim/policy/naive_batch.h"
#include "traces/routing_reader.h"

namespace moecast {
namespace {

using test::DrawnBatch;
using test::Naive;
using test::NaiveLayer;
using test::NaiveRow;

/// The decode token at `at` of each of the first `sequences` sequences.
DrawnBatch RealBatch(int64_t sequences, int64_t at) {
  auto reader = RoutingReader::Open(MOECAST_SHIPPED_TRACE).value();
  const RoutingHeader& header = reader.header();
  const RankedShape shape{.moe_layers = std::ssize(header.moe_layers),
                          .experts = header.experts,
                          .top_k = header.top_k,
                          .ranks = header.top_k + header.further_ranks};
  std::vector<NaiveLayer> layers(header.moe_layers.size());
  const auto top_k = static_cast<size_t>(header.top_k);
  const auto further = static_cast<size_t>(header.further_ranks);
  RoutingChunk chunk;
  while (std::ssize(layers.front()) < sequences && reader.Next(chunk).value()) {
    if (chunk.phase != RoutingPhase::kDecode || chunk.tokens <= at) continue;
    for (size_t l = 0; l < layers.size(); ++l) {
      const size_t cell = static_cast<size_t>(at) * layers.size() + l;
      NaiveRow& row = layers[l].emplace_back();
      for (size_t r = 0; r < top_k; ++r) {
        row.emplace_back(chunk.ids[cell * top_k + r], chunk.scores[cell * top_k + r]);
      }
      for (size_t r = 0; r < further; ++r) {
        row.emplace_back(chunk.further_ids[cell * further + r],
                         chunk.further_scores[cell * further + r]);
      }
    }
  }
  return {shape, std::move(layers)};
}

TEST(RealRows, HaveSixteenRanksOfSixtyFourExperts) {
  const DrawnBatch batch = RealBatch(4, 0);
  EXPECT_EQ(batch.shape().ranks, 16);
  EXPECT_EQ(batch.shape().experts, 64);
  EXPECT_EQ(batch.layers().front().size(), 4U);
}

TEST(RealRows, EveryRuleCountsWhatItStates) {
  for (const int64_t sequences : {1, 16, 64}) {
    const DrawnBatch batch = RealBatch(sequences, 5);
    const int64_t top_k = batch.shape().top_k;
    const Oea oea{.base_k = 3};
    const XShare xshare{.budget = 24};
    const Lynx lynx{.mass = 0.8, .bins = 8};
    const AllocTokens alloc{.mean_k = {{4.5}}, .base_k = 1};
    const auto of_oea = batch.Count({.kind = oea});
    const auto of_xshare = batch.Count({.kind = xshare});
    const auto of_lynx = batch.Count({.kind = lynx});
    const auto of_alloc = batch.Count({.kind = alloc, .scope = BatchScope::kAllRows});
    for (size_t l = 0; l < batch.layers().size(); ++l) {
      const NaiveLayer& layer = batch.layers()[l];
      EXPECT_EQ(of_oea[l], Naive(oea, layer, top_k));
      EXPECT_EQ(of_xshare[l], Naive(xshare, layer, top_k));
      EXPECT_EQ(of_lynx[l], Naive(lynx, layer, top_k));
      EXPECT_EQ(of_alloc[l], test::NaiveAlloc(1, 4.5, layer, top_k));
    }
  }
}

// docs/traces.md measured the same rule on the model itself: 32.5 experts of steps of 16.
TEST(RealRows, OeaTouchesAsManyExpertsAsTheModelDidWhenItsLossWasMeasured) {
  double touched = 0;
  int64_t layers = 0;
  for (int64_t at = 0; at < 40; ++at) {
    for (const auto& counts : RealBatch(16, at).Count({.kind = Oea{.base_k = 3}})) {
      touched += static_cast<double>(counts.size());
      ++layers;
    }
  }
  EXPECT_NEAR(touched / static_cast<double>(layers), 32.5, 2.5);
}

}  // namespace
}  // namespace moecast
