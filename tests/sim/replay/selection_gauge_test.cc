#include "sim/replay/selection_gauge.h"

#include <gtest/gtest.h>

#include <cmath>
#include <memory>

#include "tests/sim/replay/random_trace.h"

namespace moecast {
namespace {

/// One token at one layer of 8 experts, top-2 of four ranks: 5, 1, 7, 0.
class OneCell : public ::testing::Test {
 protected:
  OneCell() {
    ids_ = {5, 1, 7, 0};
    ids_.resize(static_cast<size_t>(shape_.rank_stride()), 8);
    scores_ = {400, 200, 100, 50};
    scores_.resize(ids_.size());
    row_.ids = ids_.data();
    row_.scores = scores_.data();
  }
  /// The proxies after the token computed `experts`, bits of one word.
  SelectionProxies Of(uint64_t experts) {
    SelectionGauge gauge;
    gauge.AddChosen(shape_, row_, &experts);
    return gauge.proxies();
  }

  RankedShape shape_{.moe_layers = 1, .experts = 8, .top_k = 2, .ranks = 4};
  std::vector<uint16_t> ids_;
  std::vector<uint16_t> scores_;
  RankedRow row_;
};

TEST_F(OneCell, NativeExpertsChangeNothing) {
  const SelectionProxies native = Of(1 << 5 | 1 << 1);
  EXPECT_EQ(native, (SelectionProxies{.cells = 1,
                                      .changed_cells = 0,
                                      .missing_experts = 0,
                                      .cells_with_scores = 1,
                                      .native_mass = 600,
                                      .kept_mass = 600}));
}

TEST_F(OneCell, AnotherExpertIsAChangeOfOneAndItsScoreCounts) {
  const SelectionProxies other = Of(1 << 5 | 1 << 0);
  EXPECT_EQ(other.changed_cells, 1);
  EXPECT_EQ(other.missing_experts, 1);
  EXPECT_EQ(other.kept_mass, 450);
  EXPECT_EQ(other.native_mass, 600);
}

TEST_F(OneCell, FewerExpertsAreAChangeToo) {
  const SelectionProxies fewer = Of(1 << 5);
  EXPECT_EQ(fewer.changed_cells, 1);
  EXPECT_EQ(fewer.missing_experts, 1);
  EXPECT_EQ(fewer.kept_mass, 400);
}

TEST_F(OneCell, WithoutScoresOnlyTheMassIsMissing) {
  row_.scores = nullptr;
  const SelectionProxies other = Of(1 << 5);
  EXPECT_EQ(other.cells, 1);
  EXPECT_EQ(other.missing_experts, 1);
  EXPECT_EQ(other.cells_with_scores, 0);
}

TEST_F(OneCell, ARowThatWasNotRecordedIsNotCounted) {
  std::fill(ids_.begin(), ids_.end(), 8);
  EXPECT_EQ(Of(0), SelectionProxies{});
}

TEST_F(OneCell, AReplacedExpertIsGoneAndAMemberStays) {
  const Sere rule{.primary = 1,
                  .similarity = std::make_shared<const ExpertSimilarity>(
                      1, 8, std::vector<SimilarPair>{{0, 1, 5, 0.9F}}, 0.5)};
  const std::vector<uint64_t> best = {1 << 5, 0, 0, 0, 0, 0, 0, 0};
  row_.best = best.data();
  BatchScratch scratch;
  rule.Choose({.shape = shape_, .rows = {&row_, 1}, .chosen = {}}, scratch);
  SelectionGauge gauge;
  gauge.AddRedirected(shape_, row_, rule, scratch);
  EXPECT_EQ(gauge.proxies().missing_experts, 1);
  EXPECT_EQ(gauge.proxies().kept_mass, 400);
}

TEST_F(OneCell, AnExpertThatAPromptLeavesOutIsGone) {
  const Line native{{1 << 5 | 1 << 1}};
  std::vector<uint32_t> counts(16);
  counts[5] = 3;
  SelectionGauge gauge;
  gauge.AddFiltered({.moe_layers = 1, .experts = 8}, &native, counts);
  EXPECT_EQ(gauge.proxies().changed_cells, 1);
  EXPECT_EQ(gauge.proxies().missing_experts, 1);
  EXPECT_EQ(gauge.proxies().cells_with_scores, 0);
}

TEST(SelectionGauge, TakesOneTokenInSoMany) {
  SelectionGauge gauge;
  int64_t taken = 0;
  for (uint64_t token = 0; token < 10 * SelectionGauge::kEvery; ++token) {
    taken += gauge.TakesNext() ? 1 : 0;
  }
  EXPECT_EQ(taken, 10);
}

// Half of the layers at top-1 of 2: what the table noted is what its tokens are counted with.
TEST(SelectionGauge, TakesATokenLevelRuleFromItsTable) {
  RngStream rng({.seed = 1}, "gauge table");
  const test::TraceShape shape{.moe_layers = 4, .experts = 8, .top_k = 2};
  const auto table =
      test::TableOf(shape, test::RandomTrace(shape, rng), LayerSchedule{{2, 1, 2, 1}});
  EXPECT_EQ(table->selection().changed_share, 0.5);
  EXPECT_EQ(table->selection().changed_experts, 0.5);
  SelectionGauge gauge;
  gauge.AddTokenRule(*table, 2 * static_cast<int64_t>(SelectionGauge::kEvery));
  EXPECT_EQ(gauge.proxies().cells, 8);
  EXPECT_EQ(gauge.proxies().changed_cells, 4);
  EXPECT_EQ(gauge.proxies().missing_experts, 4);
}

}  // namespace
}  // namespace moecast
