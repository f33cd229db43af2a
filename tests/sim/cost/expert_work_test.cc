// What work the forms of expert products are told: passes over weights, tiles of rows and rounds of
// blocks, against counts over drawn loads.
#include "sim/cost/expert_work.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "sim/base/rng.h"

namespace moecast {
namespace {

/// Experts with `loads` rows each, as a kernel with tiles of 8 rows is told of them.
KernelFeatures Loads(const std::vector<double>& loads) {
  KernelFeatures f;
  f[Feature::kMultiprocessors] = 132;
  f[Feature::kHidden] = f[Feature::kIntermediate] = 1;
  for (const double load : loads) {
    f[Feature::kDistinct] += 1;
    f[Feature::kAssignments] += load;
    f[Feature::kPaddedRows] += std::ceil(load / 8) * 8;
    f[Feature::kMaxLoad] = std::max(f[Feature::kMaxLoad], load);
  }
  return f;
}

double PassesOf(const KernelFeatures& f, double rows_per_pass) {
  return FormOf("down").work(f, rows_per_pass).memory[0];
}

TEST(ExpertWork, WeightsOfEvenLoadsAreReadOncePerPassOfEach) {
  EXPECT_EQ(PassesOf(Loads({16, 16, 16}), 16), 3);
  EXPECT_EQ(PassesOf(Loads({17, 17, 17}), 16), 6);
  EXPECT_EQ(PassesOf(Loads({17, 17, 17}), 0), 3);  // once, whatever the rows
}

/// What padded rows say of the passes of uneven loads is right in the mean over loads.
TEST(ExpertWork, WeightsOfUnevenLoadsAreReadAsOftenAsTheirPassesInTheMean) {
  constexpr double kRows = 32;
  double told = 0;
  double true_passes = 0;
  for (int first = 1; first <= 64; ++first) {
    const std::vector<double> loads{120, 33.0 + first, 97.0 - first / 2, 34.0 + first / 3};
    for (const double load : loads) true_passes += std::ceil(std::floor(load) / kRows);
    told += PassesOf(Loads(loads), kRows);
  }
  EXPECT_NEAR(told / true_passes, 1, 0.05);
}

TEST(ExpertWork, APassIsNeverLessThanOneReadOfEachExpert) {
  for (const double rows_per_pass : {16.0, 32.0, 64.0, 128.0}) {
    EXPECT_GE(PassesOf(Loads({1, 2, 1, 5}), rows_per_pass), 4);
  }
}

constexpr double kTile = 128;

double TilesOf(const std::vector<double>& loads) {
  const KernelFeatures f = Loads(loads);
  return TilesOfLoads(f[Feature::kAssignments], f[Feature::kDistinct], f[Feature::kMaxLoad]);
}
double TrueTiles(const std::vector<double>& loads) {
  return std::accumulate(loads.begin(), loads.end(), 0.0,
                         [](double sum, double load) { return sum + std::ceil(load / kTile); });
}

TEST(TilesOfLoads, AreCountedWhereLoadsAreEvenOrAlone) {
  EXPECT_EQ(TilesOf({1}), 1);
  EXPECT_EQ(TilesOf({129}), 2);
  EXPECT_EQ(TilesOf({128, 128, 128}), 3);
  EXPECT_EQ(TilesOf({129, 129, 129}), 6);
}

TEST(TilesOfLoads, AreNeverFewerThanExpertsNorThanRowsFill) {
  for (const std::vector<double>& loads :
       {std::vector<double>{1, 2, 1, 5}, {1, 1, 1, 5000}, {700, 1, 1}, {127, 128, 131, 120}}) {
    EXPECT_GE(TilesOf(loads), static_cast<double>(loads.size()));
    const double rows = std::accumulate(loads.begin(), loads.end(), 0.0);
    EXPECT_GE(TilesOf(loads), rows / kTile);
  }
}

/// Loads as a router leaves them that prefers no expert, and as it does where it prefers some.
TEST(TilesOfLoads, AreRightInTheMeanOverDrawnLoads) {
  RngStream rng(Seed{5}, "test/loads");
  for (const double steepness : {0.0, 0.5}) {
    for (const int tokens : {256, 512, 1024, 2048, 8192}) {
      double told = 0;
      double counted = 0;
      for (int draw = 0; draw < 40; ++draw) {
        constexpr int kExperts = 64;
        std::vector<double> share;
        for (int e = 0; e < kExperts; ++e) share.push_back(std::pow(1.0 + e, -steepness));
        const double sum = std::accumulate(share.begin(), share.end(), 0.0);
        std::vector<double> loads(kExperts);
        for (int slot = 0; slot < 6 * tokens; ++slot) {
          double at = rng.NextUniform() * sum;
          size_t e = 0;
          while (e + 1 < kExperts && at >= share[e]) at -= share[e++];
          ++loads[e];
        }
        std::erase(loads, 0.0);
        told += TilesOf(loads);
        counted += TrueTiles(loads);
      }
      EXPECT_NEAR(told / counted, 1, 0.05) << tokens << " tokens, steepness " << steepness;
    }
  }
}

/// A block computes 128 columns of gate and of up, or 256 of down, of a tile of rows.
TEST(ExpertWork, TilesGoInWholeRoundsOfBlocks) {
  KernelFeatures f = Loads(std::vector<double>(11, 128));
  f[Feature::kHidden] = 4096;
  f[Feature::kIntermediate] = 14336;
  EXPECT_EQ(FormOf("down", "prefill").work(f, 0).chain, 2 * 14336);  // 11 x 16 blocks of 132
  EXPECT_EQ(FormOf("gate_up", "prefill").work(f, 0).chain, 10 * 4096);
  EXPECT_EQ(FormOf("layer", "prefill").work(f, 0).chain, 2 * 14336 + 10 * 4096);
}

TEST(ExpertWork, TheComputeBoundFormHasAFormOfItsOwn) {
  EXPECT_NE(&FormOf("down", "prefill"), &FormOf("down"));
  EXPECT_EQ(&FormOf("down", "another"), &FormOf("down"));
  EXPECT_EQ(&FormOf("experts", "prefill"), &FormOf("experts"));
}

}  // namespace
}  // namespace moecast
