// The kernels of every instruction set, each against plain loops over bits.
#include "sim/replay/vertical_counter.h"

#include <gtest/gtest.h>

#include <bit>
#include <vector>

#include "tests/sim/replay/random_trace.h"
#include "tests/support/property.h"

namespace moecast {
namespace {

bool BitAt(const Line* row, int64_t position) {
  const uint64_t word = row[position / kBitsPerLine].words[position % kBitsPerLine / 64];
  return ((word >> (position % 64)) & 1U) != 0;
}

/// `count` rows of random density, then zero rows up to a whole block.
struct RandomRows {
  RandomRows(int64_t count, int64_t lines, RngStream& rng)
      : lines_per_row(lines), storage(static_cast<size_t>((count + 1) * lines)) {
    for (int64_t i = 0; i < count * lines; ++i) {
      for (uint64_t& word : storage[static_cast<size_t>(i)].words) {
        word = rng.NextU64() | (rng.NextBelow(2) == 0 ? rng.NextU64() : ~uint64_t{0});
      }
    }
    for (int64_t i = 0; i < count; ++i) rows.push_back(storage.data() + i * lines);
    while (rows.size() % static_cast<size_t>(kBlockRows) != 0) {
      rows.push_back(storage.data() + count * lines);
    }
    planes_needed =
        std::max(kMinPlanes, static_cast<int>(std::bit_width(static_cast<uint64_t>(count))));
  }
  [[nodiscard]] std::vector<uint32_t> Counts() const {
    std::vector<uint32_t> counts(static_cast<size_t>(lines_per_row * kBitsPerLine));
    for (const Line* row : rows) {
      for (size_t b = 0; b < counts.size(); ++b) counts[b] += BitAt(row, static_cast<int64_t>(b));
    }
    return counts;
  }
  [[nodiscard]] std::vector<Line> Planes(const CounterKernels& kernels) const {
    std::vector<Line> planes(static_cast<size_t>(lines_per_row * planes_needed));
    kernels.count_rows({rows.data(), std::ssize(rows), lines_per_row},
                       {planes.data(), lines_per_row, planes_needed});
    return planes;
  }

  int64_t lines_per_row;
  std::vector<Line> storage;
  std::vector<const Line*> rows;
  int planes_needed = 0;
};

CountLoads LoadsOf(std::span<const uint32_t> counts, uint32_t tile) {
  CountLoads loads{};
  for (const uint32_t n : counts) {
    loads.assignments += n;
    loads.distinct += n > 0 ? 1 : 0;
    loads.tiles += (n + tile - 1) / tile;
    loads.maximum = std::max(loads.maximum, n);
  }
  return loads;
}

TEST(VerticalCounter, PlanesHoldTheNumberOfSetBitsUpToTheMostRows) {
  RngStream rng({.seed = 1, .replication = 0}, "test/planes");
  for (const int64_t count : {0, 1, 15, 16, 17, 31, 255, 256, 1000, 4095}) {
    const RandomRows rows(count, 1 + count % 3, rng);
    for (const CounterKernels* kernels : test::SupportedKernels()) {
      std::vector<Line> planes = rows.Planes(*kernels);
      std::vector<uint32_t> counts(static_cast<size_t>(rows.lines_per_row * kBitsPerLine), 7);
      kernels->add_planes({planes.data(), rows.lines_per_row, rows.planes_needed}, counts.data());
      for (uint32_t& n : counts) n -= 7;
      EXPECT_EQ(counts, rows.Counts()) << kernels->name << ", " << count << " rows";
    }
  }
}

void ExpectGroupLoads(const RandomRows& rows, const CounterKernels& kernels, int passes,
                      int tile_log2) {
  std::vector<Line> planes = rows.Planes(kernels);
  const auto lanes = static_cast<size_t>(rows.lines_per_row * kLanesPerLine);
  const size_t figures = lanes * static_cast<size_t>(passes);
  std::vector<uint16_t> out(4 * figures);
  const GroupLoads groups{
      out.data(), out.data() + figures, out.data() + 2 * figures, out.data() + 3 * figures, passes,
      tile_log2};
  kernels.group_loads({planes.data(), rows.lines_per_row, rows.planes_needed}, groups);
  const std::vector<uint32_t> counts = rows.Counts();
  const auto width = static_cast<size_t>(kBitsPerLane / passes);
  for (size_t lane = 0; lane < lanes; ++lane) {
    for (size_t pass = 0; pass < static_cast<size_t>(passes); ++pass) {
      const size_t first = lane * static_cast<size_t>(kBitsPerLane) + pass * width;
      const CountLoads expected = LoadsOf(std::span(counts).subspan(first, width), 1U << tile_log2);
      const size_t at = pass * lanes + lane;
      ASSERT_EQ(groups.assignments[at], expected.assignments) << kernels.name;
      ASSERT_EQ(groups.distinct[at], expected.distinct) << kernels.name;
      ASSERT_EQ(groups.tiles[at], expected.tiles) << kernels.name;
      ASSERT_EQ(groups.maximum[at], expected.maximum) << kernels.name;
    }
  }
}

TEST(VerticalCounter, GroupFiguresEqualThoseOfTheCounts) {
  test::ForAll("counter/groups", {.cases = 60}, [](RngStream& rng) {
    const auto count = static_cast<int64_t>(rng.NextBelow(rng.NextBelow(4) == 0 ? 4096 : 300));
    const RandomRows rows(count, 1 + static_cast<int64_t>(rng.NextBelow(3)), rng);
    for (const CounterKernels* kernels : test::SupportedKernels()) {
      for (const int passes : {1, 2}) {
        ExpectGroupLoads(rows, *kernels, passes, static_cast<int>(rng.NextBelow(15)));
      }
    }
  });
}

TEST(VerticalCounter, AGroupWhoseEveryCountIsTheLargestDoesNotOverflow) {
  const std::vector<Line> ones(1, Line{{~0ULL, ~0ULL, ~0ULL, ~0ULL, ~0ULL, ~0ULL, ~0ULL, ~0ULL}});
  const std::vector<Line> zeros(1);
  std::vector<const Line*> rows(static_cast<size_t>(kMaxCountedRows), ones.data());
  rows.push_back(zeros.data());
  for (const CounterKernels* kernels : test::SupportedKernels()) {
    std::vector<Line> lines(kMaxPlanes);
    const Planes planes{lines.data(), 1, kMaxPlanes};
    kernels->count_rows({rows.data(), std::ssize(rows), 1}, planes);
    std::vector<uint16_t> out(4 * static_cast<size_t>(kLanesPerLine));
    kernels->group_loads(planes,
                         {out.data(), out.data() + 32, out.data() + 64, out.data() + 96, 1, 0});
    EXPECT_EQ(out[0], kBitsPerLane * kMaxCountedRows) << kernels->name;
    EXPECT_EQ(out[32], kBitsPerLane);
    EXPECT_EQ(out[64], kBitsPerLane * kMaxCountedRows);
    EXPECT_EQ(out[96], kMaxCountedRows);
  }
}

TEST(VerticalCounter, DifferencesOfRunningCountsSurviveTheirWrapAt65536) {
  const std::vector<uint16_t> earlier = {65'530, 0, 5};
  const std::vector<uint16_t> later = {4, 0, 65'535};
  for (const CounterKernels* kernels : test::SupportedKernels()) {
    std::vector<uint32_t> counts = {100, 100, 100};
    kernels->add_difference(later.data(), earlier.data(), 3, counts.data());
    EXPECT_EQ(counts, (std::vector<uint32_t>{110, 100, 65'630})) << kernels->name;
  }
}

TEST(VerticalCounter, FiguresOfCountsEqualPlainLoops) {
  test::ForAll("counter/counts", {.cases = 60}, [](RngStream& rng) {
    std::vector<uint32_t> counts(rng.NextBelow(70));
    for (uint32_t& n : counts) {
      n = rng.NextBelow(3) == 0 ? 0 : static_cast<uint32_t>(rng.NextBelow(100'000));
    }
    const auto tile_log2 = static_cast<int>(rng.NextBelow(9));
    const CountLoads expected = LoadsOf(counts, 1U << tile_log2);
    for (const CounterKernels* kernels : test::SupportedKernels()) {
      const CountLoads loads = kernels->count_loads(counts.data(), std::ssize(counts), tile_log2);
      EXPECT_EQ(loads.assignments, expected.assignments);
      EXPECT_EQ(loads.distinct, expected.distinct);
      EXPECT_EQ(loads.tiles, expected.tiles);
      EXPECT_EQ(loads.maximum, expected.maximum);
    }
  });
}

}  // namespace
}  // namespace moecast
