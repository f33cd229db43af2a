#include "traces/routing_synthesis.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "sim/base/fingerprint.h"
#include "tests/traces/routing/routing_builders.h"
#include "traces/routing_rows.h"

namespace moecast {
namespace {

using test::MakeHeader;

struct Drawn {
  std::vector<RoutingChunk> chunks;
  std::vector<int64_t> topics;  // of each chunk
};

Drawn Draw(const SyntheticRouting& spec, const RoutingHeader& header, Seed seed = {1}) {
  RoutingSynthesiser synthesiser(spec, header, seed);
  Drawn drawn;
  RoutingChunk chunk;
  while (synthesiser.Next(chunk)) {
    drawn.chunks.push_back(chunk);
    drawn.topics.push_back(synthesiser.topic());
  }
  return drawn;
}

SyntheticRouting Lively() {
  return {.popularity_spread = 0.8,
          .popularity_skew = 0.1,
          .topics = 4,
          .topic_strength = 0.3,
          .stickiness = 0.4,
          .score_temperature = 1.8,
          .sequences = 5,
          .prefill_tokens = 40,
          .decode_tokens = 30};
}

/// Mean over MoE layers and adjacent tokens of the experts both chose.
double AdjacentOverlap(const RoutingHeader& header, const std::vector<RoutingChunk>& chunks) {
  const size_t k = static_cast<size_t>(header.top_k);
  const size_t row_ids = header.moe_layers.size() * k;
  double shared = 0;
  double rows = 0;
  for (const RoutingChunk& chunk : chunks) {
    for (size_t i = row_ids; i < chunk.ids.size(); i += k) {
      for (size_t a = 0; a < k; ++a) {
        for (size_t b = 0; b < k; ++b) shared += chunk.ids[i + a] == chunk.ids[i - row_ids + b];
      }
      ++rows;
    }
  }
  return shared / rows;
}

TEST(RoutingSynthesiser, ChunksHaveTheStatedShapeInOrder) {
  const RoutingHeader header = MakeHeader(3, 16, 4, true);
  const SyntheticRouting spec = Lively();
  const Drawn drawn = Draw(spec, header);
  ASSERT_EQ(drawn.chunks.size(), 10u);
  for (size_t i = 0; i < drawn.chunks.size(); ++i) {
    const RoutingChunk& chunk = drawn.chunks[i];
    EXPECT_EQ(chunk.sequence, SequenceId(static_cast<uint32_t>(i / 2)));
    EXPECT_EQ(chunk.phase, i % 2 == 0 ? RoutingPhase::kPrefill : RoutingPhase::kDecode);
    EXPECT_EQ(chunk.first_position, i % 2 == 0 ? 0 : 40);
    EXPECT_EQ(chunk.tokens, i % 2 == 0 ? 40 : 30);
    EXPECT_EQ(chunk.ids.size(), static_cast<size_t>(chunk.tokens) * 3 * 4);
    EXPECT_EQ(chunk.scores.size(), chunk.ids.size());
    EXPECT_FALSE(FindProblem(chunk.ids, 16, 4));
  }
}

TEST(RoutingSynthesiser, PhaseOfZeroTokensIsLeftOut) {
  SyntheticRouting spec = Lively();
  spec.prefill_tokens = 0;
  const Drawn drawn = Draw(spec, MakeHeader(3, 16, 4));
  ASSERT_EQ(drawn.chunks.size(), 5u);
  for (const RoutingChunk& chunk : drawn.chunks) EXPECT_EQ(chunk.phase, RoutingPhase::kDecode);
}

TEST(RoutingSynthesiser, SequencesAreTheSameHoweverManyThereAre) {
  const RoutingHeader header = MakeHeader(3, 16, 4, true);
  SyntheticRouting fewer = Lively();
  fewer.sequences = 2;
  const Drawn some = Draw(fewer, header);
  const Drawn all = Draw(Lively(), header);
  for (size_t i = 0; i < some.chunks.size(); ++i) {
    EXPECT_EQ(some.chunks[i].ids, all.chunks[i].ids);
    EXPECT_EQ(some.chunks[i].scores, all.chunks[i].scores);
  }
  EXPECT_NE(all.chunks[0].ids, all.chunks[2].ids);
}

TEST(RoutingSynthesiser, AnotherSeedGivesOtherIds) {
  const RoutingHeader header = MakeHeader(3, 16, 4);
  EXPECT_NE(Draw(Lively(), header, {1}).chunks[0].ids, Draw(Lively(), header, {2}).chunks[0].ids);
}

// INV-2: the same bytes under every compiler.
TEST(RoutingSynthesiser, IdsAndScoresAreTheSameUnderEveryCompiler) {
  Fingerprint fingerprint;
  for (const RoutingChunk& chunk : Draw(Lively(), MakeHeader(3, 64, 6, true)).chunks) {
    for (const uint16_t id : chunk.ids) fingerprint.Add(id);
    for (const float score : chunk.scores) fingerprint.Add(std::bit_cast<uint32_t>(score));
  }
  EXPECT_EQ(fingerprint.value(), 10970335450673739825u);
}

TEST(RoutingSynthesiser, WithoutSpreadEveryExpertIsEquallyLikely) {
  const RoutingHeader header = MakeHeader(1, 16, 4);
  std::vector<double> counts(16);
  const Drawn drawn = Draw({.sequences = 1, .prefill_tokens = 40000, .decode_tokens = 0}, header);
  for (const uint16_t id : drawn.chunks[0].ids) ++counts[id];
  for (const double count : counts) EXPECT_NEAR(count, 10000, 5 * std::sqrt(10000 * 0.75));
}

TEST(RoutingSynthesiser, FirstChoiceFollowsTheLognormalLaw) {
  const RoutingHeader header = MakeHeader(1, 4, 1);
  const Drawn drawn =
      Draw({.popularity_spread = 1, .sequences = 1, .prefill_tokens = 100000, .decode_tokens = 0},
           header);
  std::vector<double> shares(4);
  for (const uint16_t id : drawn.chunks[0].ids) shares[id] += 1e-5;
  std::sort(shares.begin(), shares.end());
  // exp(z) at the quantiles 1/8, 3/8, 5/8, 7/8 of the standard normal, normalised.
  const std::vector<double> z = {-1.1503494, -0.3186394, 0.3186394, 1.1503494};
  double sum = 0;
  for (const double quantile : z) sum += std::exp(quantile);
  for (size_t i = 0; i < 4; ++i) EXPECT_NEAR(shares[i], std::exp(z[i]) / sum, 0.007);
}

TEST(RoutingSynthesiser, StickinessRaisesAdjacentOverlapFromTheIndependentValue) {
  const RoutingHeader header = MakeHeader(4, 32, 4);
  SyntheticRouting spec = {.sequences = 4, .prefill_tokens = 2000, .decode_tokens = 0};
  EXPECT_NEAR(AdjacentOverlap(header, Draw(spec, header).chunks), 0.5, 0.02);  // k^2 / E
  double last = 0.5;
  for (const double stickiness : {0.2, 0.5, 0.8}) {
    spec.stickiness = stickiness;
    const double overlap = AdjacentOverlap(header, Draw(spec, header).chunks);
    EXPECT_GT(overlap, last + 0.1);
    last = overlap;
  }
}

// With the repeated token always the previous one, all kept, every token equals the first.
TEST(RoutingSynthesiser, FullStickinessToThePreviousTokenRepeatsIt) {
  const RoutingHeader header = MakeHeader(4, 32, 4);
  const SyntheticRouting spec = {.stickiness = 1,
                                 .stickiness_decay = 1e3,
                                 .sequences = 1,
                                 .prefill_tokens = 50,
                                 .decode_tokens = 0};
  EXPECT_EQ(AdjacentOverlap(header, Draw(spec, header).chunks), 4.0);
}

TEST(RoutingSynthesiser, SequencesOfOneTopicShareMoreThanThoseOfTwo) {
  const RoutingHeader header = MakeHeader(4, 32, 4);
  const SyntheticRouting spec = {.popularity_spread = 1.2,
                                 .topics = 2,
                                 .topic_strength = 0.8,
                                 .sequences = 12,
                                 .prefill_tokens = 200,
                                 .decode_tokens = 0};
  const Drawn drawn = Draw(spec, header);
  double shared[2] = {0, 0};
  double pairs[2] = {0, 0};
  for (size_t a = 0; a < 12; ++a) {
    for (size_t b = a + 1; b < 12; ++b) {
      const bool same = drawn.topics[a] == drawn.topics[b];
      const auto& left = drawn.chunks[a].ids;
      const auto& right = drawn.chunks[b].ids;
      for (size_t i = 0; i < left.size(); i += 4) {
        const std::set<uint16_t> row(left.begin() + static_cast<std::ptrdiff_t>(i),
                                     left.begin() + static_cast<std::ptrdiff_t>(i + 4));
        for (size_t j = i; j < i + 4; ++j) shared[same] += static_cast<double>(row.count(right[j]));
        ++pairs[same];
      }
    }
  }
  ASSERT_GT(pairs[0], 0);
  ASSERT_GT(pairs[1], 0);
  EXPECT_GT(shared[1] / pairs[1], 1.3 * shared[0] / pairs[0]);
}

TEST(RoutingSynthesiser, ScoresAreBestFirstAndAtMostOneInAll) {
  const RoutingHeader header = MakeHeader(3, 64, 6, true);
  for (const RoutingChunk& chunk : Draw(Lively(), header).chunks) {
    for (size_t i = 0; i < chunk.scores.size(); i += 6) {
      const std::span row = std::span(chunk.scores).subspan(i, 6);
      EXPECT_TRUE(std::is_sorted(row.rbegin(), row.rend()));
      EXPECT_LT(std::accumulate(row.begin(), row.end(), 0.0F), 1.0F);
      EXPECT_GE(row[5], 0.0F);
    }
  }
}

// E[U^(1/(T r))] = T r / (T r + 1).
TEST(RoutingSynthesiser, MeanScoreRatiosFollowTheTemperature) {
  const RoutingHeader header = MakeHeader(8, 64, 4, true);
  SyntheticRouting spec = Lively();
  spec.score_temperature = 1.5;
  spec.prefill_tokens = 2000;
  spec.decode_tokens = 0;
  std::vector<double> ratio(3);
  double rows = 0;
  for (const RoutingChunk& chunk : Draw(spec, header).chunks) {
    for (size_t i = 0; i < chunk.scores.size(); i += 4) {
      for (size_t rank = 0; rank < 3; ++rank) {
        ratio[rank] += static_cast<double>(chunk.scores[i + rank + 1] / chunk.scores[i + rank]);
      }
      ++rows;
    }
  }
  for (size_t rank = 0; rank < 3; ++rank) {
    const double expected = 1.5 * static_cast<double>(rank + 1);
    EXPECT_NEAR(ratio[rank] / rows, expected / (expected + 1), 0.003);
  }
}

TEST(RoutingSynthesiser, ChoosingEveryExpertEnds) {
  const RoutingHeader header = MakeHeader(2, 8, 8);
  const SyntheticRouting spec = {
      .popularity_spread = 6, .sequences = 1, .prefill_tokens = 100, .decode_tokens = 0};
  for (const RoutingChunk& chunk : Draw(spec, header).chunks) {
    EXPECT_FALSE(FindProblem(chunk.ids, 8, 8));
  }
}

}  // namespace
}  // namespace moecast
