#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "sim/policy/experts/eac_prefill.h"
#include "sim/policy/experts/expert_set_loops.h"
#include "tests/sim/policy/naive_batch.h"
#include "tests/support/property.h"

namespace moecast {
namespace {

using test::DrawnBatch;
using test::Naive;
using test::NaiveCounts;
using test::NaiveLayer;

int64_t Between(RngStream& rng, int64_t low, int64_t high) {
  return low + static_cast<int64_t>(rng.NextBelow(static_cast<uint64_t>(high - low + 1)));
}

/// Shapes on both sides of what the vector loops take: 16 ranks a block, 256 experts.
DrawnBatch DrawBatch(RngStream& rng) {
  constexpr int64_t kExperts[] = {8, 17, 60, 64, 128, 200, 256, 300};
  RankedShape shape{.moe_layers = Between(rng, 1, 4), .experts = kExperts[rng.NextBelow(8)]};
  shape.top_k = Between(rng, 1, std::min<int64_t>(8, shape.experts / 2));
  shape.ranks = Between(rng, shape.top_k, std::min<int64_t>(shape.experts / 2, 40));
  return DrawnBatch({.shape = shape, .tokens = Between(rng, 1, 40), .unknown = 0.1}, rng);
}

int64_t Sum(const NaiveCounts& counts) {
  int64_t sum = 0;
  for (const auto& [expert, count] : counts) sum += count;
  return sum;
}

/// Whether every row's best expert is computed, and nothing outside `most`.
void ExpectSound(const NaiveCounts& counts, const NaiveLayer& layer, int64_t top_k) {
  std::map<int64_t, int64_t> ranked;
  std::map<int64_t, int64_t> best;
  for (const test::NaiveRow& row : layer) {
    for (const auto& [expert, score] : row) ++ranked[expert];
    if (!row.empty()) ++best[row.front().first];
  }
  for (const auto& [expert, count] : counts) EXPECT_LE(count, ranked[expert]);
  for (const auto& [expert, count] : best) {
    EXPECT_GE(counts.contains(expert) ? counts.at(expert) : 0, count);
  }
  EXPECT_LE(Sum(counts), top_k * std::ssize(layer));
}

TEST(Oea, EqualsTheStatedRule) {
  test::ForAll("policy/oea", {.cases = 300}, [](RngStream& rng) {
    const DrawnBatch batch = DrawBatch(rng);
    const int64_t top_k = batch.shape().top_k;
    Oea rule{.base_k = Between(rng, 1, top_k)};
    if (rng.NextBelow(2) == 0) rule.most_k = Between(rng, rule.base_k, top_k);
    if (rng.NextBelow(2) == 0) rule.max_rank = Between(rng, rule.base_k, batch.shape().ranks);
    const auto counts = batch.Count({.kind = rule});
    for (size_t l = 0; l < counts.size(); ++l) {
      EXPECT_EQ(counts[l], Naive(rule, batch.layers()[l], top_k));
      ExpectSound(counts[l], batch.layers()[l], top_k);
    }
  });
}

TEST(Oea, ReadsTheUnionOfTheBestBaseExpertsAndMoreOfThemForALargerBase) {
  test::ForAll("policy/oea union", {.cases = 100}, [](RngStream& rng) {
    const DrawnBatch batch = DrawBatch(rng);
    std::vector<size_t> before(batch.layers().size());
    for (int64_t base = 1; base <= batch.shape().top_k; ++base) {
      const auto counts = batch.Count({.kind = Oea{.base_k = base}});
      for (size_t l = 0; l < counts.size(); ++l) {
        EXPECT_EQ(counts[l].size(), test::BestOf(batch.layers()[l], base).size());
        EXPECT_GE(counts[l].size(), before[l]);
        before[l] = counts[l].size();
      }
    }
  });
}

TEST(Oea, WithTheWholeTopKAsBaseIsTheNativeRule) {
  RngStream rng({.seed = 4}, "oea native");
  const DrawnBatch batch = DrawBatch(rng);
  const int64_t top_k = batch.shape().top_k;
  const auto counts = batch.Count({.kind = Oea{.base_k = top_k, .max_rank = top_k}});
  for (size_t l = 0; l < counts.size(); ++l) {
    NaiveCounts native;
    for (const test::NaiveRow& row : batch.layers()[l]) {
      for (size_t r = 0; r < row.size() && static_cast<int64_t>(r) < top_k; ++r) {
        ++native[row[r].first];
      }
    }
    EXPECT_EQ(counts[l], native);
  }
}

TEST(XShare, EqualsTheStatedRuleAndKeepsItsBudget) {
  test::ForAll("policy/xshare", {.cases = 300}, [](RngStream& rng) {
    const DrawnBatch batch = DrawBatch(rng);
    const int64_t top_k = batch.shape().top_k;
    const XShare rule{.budget = Between(rng, 1, batch.shape().experts)};
    const auto counts = batch.Count({.kind = rule});
    for (size_t l = 0; l < counts.size(); ++l) {
      const NaiveLayer& layer = batch.layers()[l];
      EXPECT_EQ(counts[l], Naive(rule, layer, top_k));
      ExpectSound(counts[l], layer, top_k);
      EXPECT_LE(std::ssize(counts[l]), std::max(rule.budget, std::ssize(test::BestOf(layer, 1))));
    }
  });
}

TEST(XShare, ALargerBudgetSendsNoTokenToFewerExperts) {
  test::ForAll("policy/xshare monotone", {.cases = 60}, [](RngStream& rng) {
    const DrawnBatch batch = DrawBatch(rng);
    std::vector<int64_t> before(batch.layers().size());
    for (int64_t budget = 1; budget <= batch.shape().experts; budget += 3) {
      const auto counts = batch.Count({.kind = XShare{.budget = budget}});
      for (size_t l = 0; l < counts.size(); ++l) {
        EXPECT_GE(Sum(counts[l]), before[l]);
        before[l] = Sum(counts[l]);
      }
    }
  });
}

TEST(Lynx, EqualsTheStatedRuleAndMoreMassIsNeverFewerAssignments) {
  test::ForAll("policy/lynx", {.cases = 200}, [](RngStream& rng) {
    const DrawnBatch batch = DrawBatch(rng);
    const int64_t top_k = batch.shape().top_k;
    std::vector<int64_t> before(batch.layers().size());
    for (const double mass : {0.05, 0.4, 0.8, 1.0}) {
      const Lynx rule{.mass = mass,
                      .sharpness = 0.5 + rng.NextUniform(),
                      .bins = Between(rng, 1, 10),
                      .base = 2};
      const auto counts = batch.Count({.kind = rule});
      for (size_t l = 0; l < counts.size(); ++l) {
        EXPECT_EQ(counts[l], Naive(rule, batch.layers()[l], top_k));
        ExpectSound(counts[l], batch.layers()[l], top_k);
      }
    }
    for (const double mass : {0.05, 0.4, 0.8, 1.0}) {
      const auto counts = batch.Count({.kind = Lynx{.mass = mass, .bins = 6}});
      for (size_t l = 0; l < counts.size(); ++l) {
        EXPECT_GE(Sum(counts[l]), before[l]);
        before[l] = Sum(counts[l]);
      }
    }
  });
}

TEST(Lynx, BinsFallOffByTheBase) {
  const Lynx rule{.mass = 1, .sharpness = 1, .bins = 2, .base = 2};
  const auto weight = [&rule](float score) { return rule.Weight({.score = score, .best = 1}); };
  EXPECT_EQ(weight(1), 65535);
  EXPECT_EQ(weight(0.9F), 32768);   // a little below: bin -1
  EXPECT_EQ(weight(0.2F), 16384);   // ln 0.2 = -1.6: bin -2
  EXPECT_EQ(weight(1e-6F), 16384);  // the lowest bin
}

TEST(Sere, EqualsTheStatedRuleAndKeepsEveryAssignment) {
  test::ForAll("policy/sere", {.cases = 200}, [](RngStream& rng) {
    const DrawnBatch batch = DrawBatch(rng);
    const RankedShape& shape = batch.shape();
    std::vector<SimilarPair> pairs;
    std::vector<std::map<std::pair<int64_t, int64_t>, float>> similar(batch.layers().size());
    for (int64_t i = 0; i < 20 * shape.experts; ++i) {
      const auto layer = rng.NextBelow(batch.layers().size());
      const int64_t from = Between(rng, 0, shape.experts - 1);
      const int64_t to = Between(rng, 0, shape.experts - 1);
      const float value = static_cast<float>(rng.NextBelow(10)) / 10;
      if (from == to || !similar[layer].try_emplace({from, to}, value).second) continue;
      pairs.push_back({static_cast<int64_t>(layer), static_cast<uint16_t>(from),
                       static_cast<uint16_t>(to), value});
    }
    const int64_t primary = Between(rng, 1, shape.top_k);
    const Sere rule{.primary = primary,
                    .similarity = std::make_shared<const ExpertSimilarity>(
                        shape.moe_layers, shape.experts, pairs, 0.35)};
    const auto counts = batch.Count({.kind = rule});
    for (size_t l = 0; l < counts.size(); ++l) {
      const NaiveLayer& layer = batch.layers()[l];
      EXPECT_EQ(counts[l], test::NaiveSere(primary, 0.35, similar[l], layer, shape.top_k));
      const auto known = std::ranges::count_if(layer, [](const auto& row) { return !row.empty(); });
      EXPECT_EQ(Sum(counts[l]), known * shape.top_k);
    }
  });
}

TEST(AllocTokens, EqualsTheStatedRuleAndFillsItsBudget) {
  test::ForAll("policy/alloc", {.cases = 300}, [](RngStream& rng) {
    const DrawnBatch batch = DrawBatch(rng);
    const int64_t top_k = batch.shape().top_k;
    const int64_t base = Between(rng, 1, top_k);
    const double mean =
        static_cast<double>(base) + rng.NextUniform() * static_cast<double>(top_k - base);
    const AllocTokens rule{.mean_k = {{mean}}, .base_k = base};
    const auto counts = batch.Count({.kind = rule, .scope = BatchScope::kAllRows});
    for (size_t l = 0; l < counts.size(); ++l) {
      const NaiveLayer& layer = batch.layers()[l];
      EXPECT_EQ(counts[l], test::NaiveAlloc(base, mean, layer, top_k));
      ExpectSound(counts[l], layer, top_k);
      const auto known = std::ranges::count_if(layer, [](const auto& row) { return !row.empty(); });
      EXPECT_EQ(Sum(counts[l]), static_cast<int64_t>(mean * static_cast<double>(known)));
    }
  });
}

TEST(EacPrefill, LeavesOutExpertsBelowTheirShareOfEvenRouting) {
  std::vector<uint32_t> counts = {10, 3, 2, 0, 5, 4, 4, 4};  // 16 tokens, top-2 of 8: even is 4
  EacPrefill{.threshold = 0.75}.Filter(16, 2, counts);
  EXPECT_EQ(counts, (std::vector<uint32_t>{10, 3, 0, 0, 5, 4, 4, 4}));
  EacPrefill{.threshold = 0}.Filter(16, 2, counts);
  EXPECT_EQ(counts, (std::vector<uint32_t>{10, 3, 0, 0, 5, 4, 4, 4}));
}

TEST(BatchRule, ActsInTheStepsOfItsScope) {
  const StepLoad decode{.decode_sequences = 8};
  const StepLoad mixed{.decode_sequences = 8, .prefill_tokens = 100};
  BatchRule rule{.kind = XShare{.budget = 4}};
  EXPECT_TRUE(rule.Acts(decode));
  EXPECT_FALSE(rule.Acts(mixed));
  rule.scope = BatchScope::kDecodeRows;
  EXPECT_TRUE(rule.Acts(mixed));
  rule.most_tokens = 50;
  EXPECT_FALSE(rule.Acts(mixed));
  EXPECT_TRUE(rule.Acts(decode));
}

TEST(ExpertSetLoops, AreAlikeUnderEveryInstructionSet) {
  const ExpertSetLoops& best = BestExpertSetLoops();
  const ExpertSetLoops& plain = PortableExpertSetLoops();
  test::ForAll("policy/thresholds", {.cases = 200}, [&](RngStream& rng) {
    std::vector<uint32_t> values(1 + rng.NextBelow(300));
    std::vector<uint16_t> small(1 + rng.NextBelow(70000));
    for (uint32_t& value : values) value = static_cast<uint32_t>(rng.NextBelow(1000));
    const uint64_t below = rng.NextBelow(2) == 0 ? 1000 : 65536;  // many ties, or few
    for (uint16_t& value : small) value = static_cast<uint16_t>(rng.NextBelow(below));
    const auto size = std::ssize(values);
    const int64_t wanted = Between(rng, 1, size);
    const uint32_t count = plain.threshold_by_count(values.data(), size, wanted);
    EXPECT_EQ(best.threshold_by_count(values.data(), size, wanted), count);
    EXPECT_GE(std::ranges::count_if(values, [&](uint32_t v) { return v >= count; }), wanted);
    EXPECT_LT(std::ranges::count_if(values, [&](uint32_t v) { return v > count; }), wanted);
    const uint64_t mass = 1 + rng.NextBelow(static_cast<uint64_t>(size));
    EXPECT_EQ(best.threshold_by_sum(values.data(), size, mass),
              plain.threshold_by_sum(values.data(), size, mass));
    const int64_t most = Between(rng, 1, std::ssize(small));
    const uint32_t of_best = best.threshold_by_count16(small.data(), std::ssize(small), most);
    EXPECT_EQ(plain.threshold_by_count16(small.data(), std::ssize(small), most), of_best);
    std::ranges::nth_element(small, small.begin() + most - 1, std::greater<>());
    EXPECT_EQ(of_best, small[static_cast<size_t>(most - 1)]);
  });
}

}  // namespace
}  // namespace moecast
