// Layout of 4-bit weights for the compute-bound products, against the fragment layout that the
// instruction set states, and what a power cap says of a sample.
#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <vector>

#include "kernels/harness/clock_monitor.h"
#include "kernels/harness/sample_ledger.h"
#include "kernels/ops/expert_prefill/pack.h"
#include "sim/base/rng.h"

namespace moecast::kernels {
namespace {

constexpr int64_t kRows = 48;
constexpr int64_t kColumns = 192;

std::vector<uint8_t> RandomCodes() {
  RngStream rng({.seed = 3}, "test/prefill_pack");
  std::vector<uint8_t> codes;
  for (int64_t i = 0; i < kRows * kColumns; ++i)
    codes.push_back(static_cast<uint8_t>(16 * rng.NextUniform()));
  return codes;
}

// Where an element of a 16 x 16 operand A of wgmma lies (PTX ISA 9.0, 9.7.15.5.1.1): lanes count
// rows of 8 and pairs of columns, registers count halves of rows, then of columns.
struct Place {
  int64_t lane;
  int64_t shift;
};
Place PlaceOf(int64_t row, int64_t column) {
  const int64_t lane = row % 8 * 4 + column % 8 / 2;
  const int64_t reg = row / 8 + 2 * (column / 8);
  return {lane, 4 * reg + 16 * (column % 2)};
}

TEST(PackInt4Codes, EveryCodeLiesInTheLaneAndRegisterThatMultipliesIt) {
  const std::vector<uint8_t> codes = RandomCodes();
  const std::vector<uint32_t> packed = PackInt4Codes(codes, kRows, kColumns);
  ASSERT_EQ(packed.size(), codes.size() / 8);
  for (int64_t row = 0; row < kRows; ++row) {
    for (int64_t column = 0; column < kColumns; ++column) {
      const Place place = PlaceOf(row % 16, column % 16);
      const int64_t block = row / 16 * (kColumns / 64) + column / 64;
      const auto word = static_cast<size_t>((block * 32 + place.lane) * 4 + column % 64 / 16);
      ASSERT_EQ(packed[word] >> place.shift & 0xfU,
                codes[static_cast<size_t>(row * kColumns + column)])
          << "row " << row << " column " << column;
    }
  }
}

TEST(PackInt4Codes, ALanesCodesOf64ColumnsAreOneVectorOf16Bytes) {
  std::vector<uint8_t> codes(16 * 128, 0);
  // Row 9 is row 1 of the lower half; columns 66 and 127 belong to lanes 5 and 7.
  codes[9 * 128 + 66] = 15;
  codes[9 * 128 + 127] = 7;
  const std::vector<uint32_t> packed = PackInt4Codes(codes, 16, 128);
  constexpr size_t kSecondBlock = 32 * 4;
  for (size_t word = 0; word < packed.size(); ++word) {
    const bool first = word == kSecondBlock + 5 * 4;
    const bool second = word == kSecondBlock + 7 * 4 + 3;
    EXPECT_EQ(packed[word], first ? 0x000000f0U : second ? 0x70000000U : 0U) << "word " << word;
  }
}

TEST(PackInt4Scales, RowsOfBothHalvesOfATileShareAWord) {
  constexpr int64_t kGroups = 3;
  std::vector<uint16_t> scales;
  for (int64_t i = 0; i < 32 * kGroups; ++i) scales.push_back(static_cast<uint16_t>(1000 + i));
  const std::vector<uint32_t> packed = PackInt4Scales(scales, 32, kGroups);
  ASSERT_EQ(packed.size(), scales.size() / 2);
  for (int64_t row = 0; row < 32; ++row) {
    for (int64_t group = 0; group < kGroups; ++group) {
      const auto word = static_cast<size_t>((row / 16 * kGroups + group) * 8 + row % 8);
      const uint32_t half = row % 16 < 8 ? packed[word] & 0xffffU : packed[word] >> 16;
      EXPECT_EQ(half, scales[static_cast<size_t>(row * kGroups + group)]) << row << ' ' << group;
    }
  }
}

ClockReading Reading(uint64_t reasons, double sm_mhz) {
  return {.sm_mhz = sm_mhz, .max_sm_mhz = 1980, .reasons = reasons};
}
constexpr uint64_t kPowerCapped = 0x4;
constexpr uint64_t kTooHot = 0x20;

TEST(PowerCap, DiscardsSlowSamplesUnlessItIsTheSteadyState) {
  const ClockReading capped = Reading(kPowerCapped, 1400);
  EXPECT_TRUE(Throttled(capped));
  EXPECT_FALSE(Throttled(capped, PowerCap::kIsSteadyState));
}

TEST(PowerCap, NeverExcusesHeat) {
  SampleLedger ledger(PowerCap::kIsSteadyState);
  const std::array<double, 2> block = {1, 2};
  ledger.Offer(block, Reading(kPowerCapped, 1400));
  ledger.Offer(block, Reading(kPowerCapped | kTooHot, 1400));
  EXPECT_EQ(ledger.kept().size(), 2U);
  EXPECT_EQ(ledger.discarded(), 2U);
}

}  // namespace
}  // namespace moecast::kernels
