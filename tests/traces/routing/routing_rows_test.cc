#include "traces/routing_rows.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

#include "sim/base/rng.h"
#include "traces/routing_chunk.h"

namespace moecast {
namespace {

/// The rules, said the plain way.
std::optional<size_t> FirstBadRow(std::span<const uint16_t> ids, int32_t experts, size_t top_k) {
  for (size_t row = 0; row < ids.size() / top_k; ++row) {
    const auto row_ids = ids.subspan(row * top_k, top_k);
    const std::set<uint16_t> distinct(row_ids.begin(), row_ids.end());
    if (distinct.size() == 1 && *distinct.begin() == kUnknownExpert) continue;
    if (distinct.size() < top_k || *distinct.rbegin() >= experts) return row;
  }
  return std::nullopt;
}

std::vector<uint16_t> CleanRows(int32_t experts, size_t top_k, size_t rows) {
  std::vector<uint16_t> ids;
  for (size_t row = 0; row < rows; ++row) {
    for (size_t rank = 0; rank < top_k; ++rank) {
      ids.push_back(static_cast<uint16_t>((row * 3 + rank) % static_cast<size_t>(experts)));
    }
  }
  return ids;
}

TEST(RoutingRows, CleanRowsHaveNoProblem) {
  for (const size_t top_k : {1u, 2u, 4u, 6u, 8u, 16u, 17u}) {
    for (const size_t rows : {0u, 1u, 63u, 64u, 65u, 200u}) {
      EXPECT_FALSE(FindProblem(CleanRows(40, top_k, rows), 40, static_cast<int32_t>(top_k)));
    }
  }
}

TEST(RoutingRows, AnySingleChangedIdIsJudgedAsThePlainRulesDo) {
  RngStream rng(Seed{1}, "test/rows");
  for (int trial = 0; trial < 3000; ++trial) {
    const size_t top_k = 1 + rng.NextBelow(9);
    const int32_t experts = static_cast<int32_t>(top_k + rng.NextBelow(6));
    std::vector<uint16_t> ids = CleanRows(experts, top_k, 150);
    const size_t place = rng.NextBelow(ids.size());
    ids[place] = rng.NextBelow(8) == 0
                     ? kUnknownExpert
                     : static_cast<uint16_t>(rng.NextBelow(static_cast<uint64_t>(experts) + 2));
    const auto expected = FirstBadRow(ids, experts, top_k);
    const auto found = FindProblem(ids, experts, static_cast<int32_t>(top_k));
    ASSERT_EQ(found.has_value(), expected.has_value()) << "trial " << trial;
    if (found) {
      EXPECT_EQ(found->row, *expected);
    }
    const std::vector<uint8_t> narrow(ids.begin(), ids.end());
    if (ids[place] != kUnknownExpert) {
      EXPECT_EQ(AllClean(narrow, experts, static_cast<int32_t>(top_k)), !expected);
    }
  }
}

TEST(RoutingRows, WhollyUnknownRowIsAllowedAndPartlyUnknownIsNot) {
  std::vector<uint16_t> ids = {0, 1, kUnknownExpert, kUnknownExpert, 2, 3};
  EXPECT_FALSE(FindProblem(ids, 4, 2));
  ids[3] = 0;
  const auto problem = FindProblem(ids, 4, 2);
  ASSERT_TRUE(problem);
  EXPECT_EQ(problem->kind, RowProblem::Kind::kPartlyUnknown);
  EXPECT_EQ(problem->row, 1u);
}

TEST(RoutingRows, PackingAndUnpackingIsIdentity) {
  for (const int32_t experts : {256, 257}) {
    std::vector<uint16_t> ids = CleanRows(experts, 3, 21);
    ids[0] = static_cast<uint16_t>(experts - 1);  // the largest id of each width
    for (size_t row : {5u, 20u})
      std::fill_n(ids.begin() + static_cast<std::ptrdiff_t>(3 * row), 3, kUnknownExpert);
    PackedRows packed;
    Pack(ids, experts, 3, packed);
    EXPECT_EQ(packed.ids.size(), ids.size() * (experts > 256 ? 2 : 1));
    EXPECT_EQ(packed.unknown_count, 2u);
    std::vector<uint16_t> back(ids.size());
    WidenIds(packed.ids, IdBytes(experts), back);
    EXPECT_EQ(MarkUnknown(packed.unknown_rows, 3, back), 2u);
    EXPECT_EQ(back, ids);
  }
}

TEST(RoutingRows, ScoresSurviveToHalfAUnit) {
  const double unit = 1e-4;
  const std::vector<float> scores = {0.0F, 1e-4F, 0.12345F, 1.0F, 6.5535F};
  std::string packed;
  ASSERT_FALSE(PackScores(scores, unit, packed));
  std::vector<float> back(scores.size());
  UnpackScores(packed, unit, back);
  for (size_t i = 0; i < scores.size(); ++i) EXPECT_NEAR(back[i], scores[i], 0.5 * unit + 1e-6);
}

TEST(RoutingRows, WholeUnitsSurviveExactly) {
  const double unit = 1e-4;
  std::vector<float> scores;
  for (int whole = 0; whole <= 65535; ++whole) scores.push_back(static_cast<float>(whole * unit));
  std::string packed;
  ASSERT_FALSE(PackScores(scores, unit, packed));
  std::vector<float> back(scores.size());
  UnpackScores(packed, unit, back);
  EXPECT_EQ(back, scores);
}

TEST(RoutingRows, ScoresThatDoNotFitAreRefused) {
  std::string packed;
  for (const float bad : {-0.1F, 6.6F, std::numeric_limits<float>::infinity(),
                          std::numeric_limits<float>::quiet_NaN()}) {
    EXPECT_TRUE(PackScores(std::vector<float>{0.5F, bad}, 1e-4, packed));
  }
}

}  // namespace
}  // namespace moecast
