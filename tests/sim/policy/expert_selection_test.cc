#include "sim/policy/expert_selection.h"

#include <gtest/gtest.h>

#include "tests/support/property.h"

namespace moecast {
namespace {

int64_t Between(RngStream& rng, int64_t low, int64_t high) {
  return low + static_cast<int64_t>(rng.NextBelow(static_cast<uint64_t>(high - low + 1)));
}

GateRow Row(int64_t moe_layer, int64_t native_top_k) {
  return {.moe_layer = moe_layer, .scores = {}, .native_top_k = native_top_k};
}

TEST(ExpertSelection, NativeKeepsEveryExpert) {
  EXPECT_EQ(KeptExperts(NativeTopK{}, Row(3, 8)), 8);
}

TEST(ExpertSelection, UniformTopKNeverExceedsTheNativeOne) {
  EXPECT_EQ(KeptExperts(UniformTopK{.k = 4}, Row(0, 6)), 4);
  EXPECT_EQ(KeptExperts(UniformTopK{.k = 9}, Row(0, 6)), 6);
}

TEST(ExpertSelection, LayerScheduleGivesEachLayerItsOwnTopK) {
  const LayerSchedule schedule{.k_per_moe_layer = {1, 5, 9}};
  EXPECT_EQ(KeptExperts(schedule, Row(0, 6)), 1);
  EXPECT_EQ(KeptExperts(schedule, Row(1, 6)), 5);
  EXPECT_EQ(KeptExperts(schedule, Row(2, 6)), 6);
}

TEST(ExpertSelection, MeanKeptAveragesOverMoeLayers) {
  EXPECT_EQ(MeanKept(NativeTopK{}, 6, 26), 6.0);
  EXPECT_EQ(MeanKept(UniformTopK{.k = 4}, 6, 26), 4.0);
  EXPECT_EQ(MeanKept(LayerSchedule{.k_per_moe_layer = {2, 3, 4, 4}}, 6, 4), 3.25);
}

TEST(ExpertSelectionDeathTest, AScheduleThatLacksTheLayerIsAProgramError) {
  EXPECT_DEATH(KeptExperts(LayerSchedule{.k_per_moe_layer = {2}}, Row(1, 6)), "moe_layer");
}

TEST(ExpertSelectionDeathTest, KeepingNoExpertIsAProgramError) {
  EXPECT_DEATH(KeptExperts(UniformTopK{.k = 0}, Row(0, 6)), "kept >= 1");
}

// A rule keeps a prefix of the ranked experts, so its kept sets are nested exactly when counts are.
TEST(ExpertSelection, KeptIsInRangeAndStricterSettingsKeepSubsets_INV7) {
  test::ForAll("policy/kept", {.cases = 300}, [](RngStream& rng) {
    const int64_t native = Between(rng, 1, 12);
    const int64_t layers = Between(rng, 1, 60);
    const int64_t k = Between(rng, 1, 12);
    LayerSchedule loose;
    LayerSchedule strict;
    for (int64_t l = 0; l < layers; ++l) {
      loose.k_per_moe_layer.push_back(Between(rng, 1, 12));
      strict.k_per_moe_layer.push_back(Between(rng, 1, loose.k_per_moe_layer.back()));
    }
    for (int64_t l = 0; l < layers; ++l) {
      const GateRow row = Row(l, native);
      for (const ExpertSelection& rule :
           {ExpertSelection{UniformTopK{k}}, ExpertSelection{loose}, ExpertSelection{strict}}) {
        EXPECT_GE(KeptExperts(rule, row), 1);
        EXPECT_LE(KeptExperts(rule, row), KeptExperts(NativeTopK{}, row));
      }
      EXPECT_LE(KeptExperts(UniformTopK{k}, row), KeptExperts(UniformTopK{k + 1}, row));
      EXPECT_LE(KeptExperts(strict, row), KeptExperts(loose, row));
    }
  });
}

}  // namespace
}  // namespace moecast
