// How decode attention is split, against the definition of what is seen; and its reference.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>
#include <vector>

#include "kernels/ops/attend/reference.h"
#include "kernels/ops/attend/split_plan.h"
#include "sim/base/rng.h"

namespace moecast::kernels {
namespace {

constexpr KvPart kInt2{.element = KvElement::kInt2, .group = 64};

struct Drawn {
  KvScheme scheme;
  VisibleTokens visible;
  int kv_heads = 0;
  std::vector<int32_t> lengths;
  std::vector<std::vector<int32_t>> selected;  // of each sequence; empty: no selection
};

int32_t Below(RngStream& rng, int32_t bound) {
  return static_cast<int32_t>(rng.NextBelow(static_cast<uint64_t>(bound)));
}

KvScheme DrawScheme(RngStream& rng) {
  KvScheme scheme;
  if (rng.NextBelow(2) == 0) scheme.keys = scheme.values = kInt2;
  if (rng.NextBelow(2) == 0)
    scheme.window = {.sink = kPageTokens * Below(rng, 3),
                     .recent = kPageTokens * Below(rng, 3),
                     .flush = kPageTokens * (1 + Below(rng, 2))};
  return scheme;
}

Drawn Draw(uint64_t seed) {
  RngStream rng({.seed = seed}, "attend_plan_test");
  Drawn drawn;
  drawn.scheme = DrawScheme(rng);
  drawn.kv_heads = 1 + Below(rng, 4);
  if (rng.NextBelow(3) == 0)
    drawn.visible = {.sink = Below(rng, 100), .window = 1 + Below(rng, 500)};
  const bool selects = drawn.visible.window == 0 && rng.NextBelow(2) == 0;
  const int32_t sequences = 1 + Below(rng, 6);
  for (int32_t s = 0; s < sequences; ++s) {
    drawn.lengths.push_back(rng.NextBelow(4) == 0 ? 0 : 1 + Below(rng, 900));
    if (!selects) continue;
    const KvWindow& window = drawn.scheme.window;
    const auto tokens = static_cast<int32_t>(QuantisedTokens(window, drawn.lengths.back()));
    drawn.selected.emplace_back();
    for (int32_t first = 0; first < tokens; first += kPageTokens)
      if (rng.NextBelow(2) == 0)
        drawn.selected.back().push_back((window.sink + first) / kPageTokens);
  }
  return drawn;
}

int32_t SelectedOf(const Drawn& drawn, size_t sequence) {
  return drawn.selected.empty() ? -1 : static_cast<int32_t>(drawn.selected[sequence].size());
}

std::vector<int32_t> StartsOf(const Drawn& drawn) {
  std::vector<int32_t> starts{0};
  for (size_t s = 0; s < drawn.lengths.size(); ++s)
    starts.push_back(starts.back() + UnitsOf(drawn.scheme, drawn.visible, drawn.lengths[s],
                                             EndOfPages(drawn.scheme.window, drawn.lengths[s]),
                                             SelectedOf(drawn, s))
                                         .size());
  return starts;
}

// How often each (sequence, head, token) is in the mask of a unit.
std::map<std::tuple<int32_t, int32_t, int32_t>, int> Covered(const Drawn& drawn) {
  const std::vector<int32_t> starts = StartsOf(drawn);
  const auto sequences = static_cast<int>(drawn.lengths.size());
  std::map<std::tuple<int32_t, int32_t, int32_t>, int> covered;
  for (int32_t unit = 0; unit < starts.back() * drawn.kv_heads; ++unit) {
    const UnitPlace place = PlaceOfUnit(starts.data(), sequences, drawn.kv_heads, unit);
    const auto s = static_cast<size_t>(place.sequence);
    const UnitSource source = SourceOf(
        drawn.scheme, drawn.visible, drawn.lengths[s],
        EndOfPages(drawn.scheme.window, drawn.lengths[s]), SelectedOf(drawn, s), place.number,
        [&](int32_t k) { return drawn.selected[s][static_cast<size_t>(k)]; });
    if (source.end == 0) continue;  // behind the end of a selected page
    EXPECT_EQ(source.token % (source.slab ? kSlabTokens : kPageTokens), 0);
    const auto quantised =
        static_cast<int32_t>(QuantisedTokens(drawn.scheme.window, drawn.lengths[s]));
    const int32_t sink = drawn.scheme.window.sink;
    EXPECT_EQ(source.window, source.token < sink || source.token >= sink + quantised);
    for (int32_t t = 0; t < source.end; ++t) {
      if (t >= source.front && t < source.back) continue;
      ++covered[{place.sequence, place.head, source.token + t}];
    }
  }
  return covered;
}

TEST(AttendPlan, EveryVisibleToken_IsInExactlyOneUnit) {  // INV-1 of split_plan.h
  for (uint64_t seed = 0; seed < 400; ++seed) {
    const Drawn drawn = Draw(seed);
    const auto covered = Covered(drawn);
    size_t seen = 0;
    for (size_t s = 0; s < drawn.lengths.size(); ++s) {
      const std::vector<int32_t>* const selected =
          drawn.selected.empty() ? nullptr : &drawn.selected[s];
      for (const int32_t token :
           reference::SeenTokens(drawn.scheme, drawn.visible, selected, drawn.lengths[s])) {
        for (int32_t h = 0; h < drawn.kv_heads; ++h, ++seen) {
          const auto found = covered.find({static_cast<int32_t>(s), h, token});
          ASSERT_NE(found, covered.end()) << "seed " << seed << " sequence " << s << ": " << token;
          EXPECT_EQ(found->second, 1) << "seed " << seed << " sequence " << s << ": " << token;
        }
      }
    }
    EXPECT_EQ(covered.size(), seen) << "seed " << seed;
  }
}

TEST(AttendPlan, HiddenTokens_CostNothing) {
  const VisibleTokens visible{.sink = 64, .window = 1024};
  KvScheme both;
  both.keys = both.values = kInt2;
  constexpr int32_t kLength = 1 << 20;
  const SequenceUnits units = UnitsOf(both, visible, kLength, kLength, -1);
  EXPECT_EQ(units.size(), 1 + 1024 / kPageTokens);
  EXPECT_EQ(UnitsOf({}, visible, kLength, kLength, -1).size(), (64 + 1024) / kSlabTokens);
}

TEST(AttendPlan, Shares_CoverTheRowAndDifferByAtMostOne) {  // INV-2 of split_plan.h
  for (const int32_t units : {1, 7, 131, 132, 133, 1000, 99991}) {
    for (const int workers : {1, 5, 12, 132}) {
      if (workers > units) continue;
      EXPECT_EQ(ShareStart(units, workers, 0), 0);
      EXPECT_EQ(ShareStart(units, workers, workers), units);
      for (int w = 0; w < workers; ++w) {
        const int32_t first = ShareStart(units, workers, w);
        const int32_t end = ShareStart(units, workers, w + 1);
        EXPECT_GE(end - first, units / workers);
        EXPECT_LE(end - first, units / workers + 1);
        EXPECT_EQ(OwnerOf(units, workers, first), w);
        EXPECT_EQ(OwnerOf(units, workers, end - 1), w);
      }
    }
  }
}

TEST(AttendPlan, EndOfPages_AgreesWithTheSchemesOwnCount) {
  for (const KvWindow& window : {KvWindow{}, KvWindow{.sink = 64, .recent = 64, .flush = 64},
                                 KvWindow{.sink = 128, .recent = 0, .flush = 192}}) {
    for (int32_t length = 0; length < 1000; ++length)
      EXPECT_EQ(EndOfPages(window, length),
                std::min(window.sink, length) + QuantisedTokens(window, length));
  }
}

int Blocks(int32_t units, int32_t segments, int32_t most = 132) {
  return BlocksFor(units, BlocksOfSegments(segments, most), 12);
}

TEST(AttendPlan, EveryBlock_HasAUnit) {  // a later block may wait for what an earlier one posts
  for (const int32_t units : {1, 7, 64, 131, 1000, 9000, 99991}) {
    for (const int32_t segments : {1, 8, 100, 132, 133, 5000}) {
      for (const int32_t most : {1, 3, 132}) {
        EXPECT_GE(Blocks(units, segments, most), 1);
        EXPECT_LE(Blocks(units, segments, most), std::min(units, most));
      }
    }
  }
  EXPECT_EQ(Blocks(0, 8), 0);
  EXPECT_EQ(Blocks(100000, 8), 132);
}

TEST(AttendPlan, ManyUnits_AreNotCutWhereEachBlockHasAnEqualSegment) {
  EXPECT_EQ(Blocks(128 * 260, 128), 128);
  EXPECT_EQ(Blocks(132 * 260, 132), 132);
  EXPECT_EQ(Blocks(128 * 260 + 1, 128), 132);  // of different lengths
  EXPECT_EQ(Blocks(120 * 260, 120), 132);      // too many blocks would be idle
  EXPECT_EQ(Blocks(64 * 520, 64), 132);
  EXPECT_EQ(Blocks(512 * 260, 512), 132);
}

TEST(AttendPlan, LongLaunches_AreCutEverywhere) {  // idle blocks would cost more than merges
  constexpr int32_t kMost = 32 * 132 * 12;         // units
  EXPECT_EQ(Blocks(kMost / 128 * 128, 128), 128);
  EXPECT_EQ(Blocks((kMost / 128 + 1) * 128, 128), 132);
  EXPECT_EQ(Blocks(128 * 1024, 128), 132);
}

TEST(AttendPlan, FewUnitsOfEqualSegments_AreCutWhereBlocksEnd) {
  for (const int32_t segments : {1, 8, 60, 128}) {
    for (const int32_t of : {1, 5, 12, 13, 40}) {
      const int32_t units = segments * of;
      const int blocks = Blocks(units, segments);
      ASSERT_TRUE(blocks % segments == 0) << segments << " x " << of << ": " << blocks;
      for (int32_t s = 0; s <= segments; ++s)
        EXPECT_EQ(ShareStart(units, blocks, s * (blocks / segments)), s * of);
    }
  }
  EXPECT_EQ(Blocks(8 * 12, 8), 8);      // a block has a warp for each unit of a segment
  EXPECT_EQ(Blocks(96 * 64, 96), 132);  // 36 idle blocks would cost more than merges
}

TEST(AttendPlan, ManyEqualSegments_AreNotCutByBlocks) {
  for (const int32_t segments : {256, 384, 512, 768, 2048}) {
    const int32_t of = 4;
    const int blocks = Blocks(segments * of, segments);
    ASSERT_EQ(segments % blocks, 0) << segments;
    for (int block = 0; block <= blocks; ++block)
      EXPECT_EQ(ShareStart(segments * of, blocks, block) % of, 0);
  }
  EXPECT_EQ(Blocks(200 * 40, 200), 132);   // two each would leave 32 blocks idle
  EXPECT_EQ(Blocks(512 * 400, 512), 132);  // many units: merges weigh little
}

TEST(AttendReference, EqualScores_GiveTheMeanOfTheSeenValues) {
  const Eigen::MatrixXd query = Eigen::MatrixXd::Random(2, 4);
  const Eigen::MatrixXd keys = Eigen::MatrixXd::Zero(5, 4);
  Eigen::MatrixXd values = Eigen::MatrixXd::Random(5, 4);
  const std::vector<int32_t> seen = {0, 2, 4};
  const Eigen::RowVectorXd mean = (values.row(0) + values.row(2) + values.row(4)) / 3;
  const Eigen::MatrixXd out = reference::Attend(query, keys, values, seen, 1);
  EXPECT_TRUE(out.row(0).isApprox(mean));
  EXPECT_TRUE(out.row(1).isApprox(mean));
}

TEST(AttendReference, ScoresThatDifferByALogarithm_WeighByItsNumber) {
  const Eigen::MatrixXd query = Eigen::MatrixXd::Constant(1, 1, 2);
  Eigen::MatrixXd keys(2, 1);
  keys << 0, std::log(3.0);
  Eigen::MatrixXd values(2, 1);
  values << 0, 1;
  const Eigen::MatrixXd out =
      reference::Attend(query, keys, values, std::vector<int32_t>{0, 1}, 0.5);
  EXPECT_NEAR(out(0, 0), 0.75, 1e-12);
}

}  // namespace
}  // namespace moecast::kernels
