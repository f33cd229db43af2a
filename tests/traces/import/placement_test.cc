#include "traces/placement.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/temporary_folder.h"
#include "tests/traces/import/captures.h"

namespace moecast {
namespace {

using ::testing::HasSubstr;

/// Four experts in six slots on two ranks; two layers.
ExpertPlacement Replicated() {
  return {.physical_to_logical = {{0, 1, 2, 3, 0, 1}, {3, 2, 1, 0, 3, 3}},
          .layers = {1, 2},
          .ranks = 2};
}

class PlacementTest : public ::testing::Test {
 protected:
  Result<ExpertPlacement> Read(const std::string& text) {
    EXPECT_TRUE(WriteFileAtomically(scratch_ / "placement", text).ok());
    return ReadPlacement(scratch_ / "placement");
  }
  std::string ErrorOf(const std::string& text) {
    const auto placement = Read(text);
    return placement.ok() ? "read" : ToString(placement.errors());
  }
  test::TemporaryFolder scratch_;
};

TEST_F(PlacementTest, EveryFormatKeepsWhatItCanSay) {
  const ExpertPlacement placement = Replicated();
  const auto read_back = [&](PlacementFormat format) {
    return Read(RenderPlacement(placement, format).value()).value();
  };
  const ExpertPlacement sglang = read_back(PlacementFormat::kSglang);
  EXPECT_EQ(sglang.physical_to_logical, placement.physical_to_logical);
  const ExpertPlacement trtllm = read_back(PlacementFormat::kTrtllm);
  EXPECT_EQ(trtllm.physical_to_logical, placement.physical_to_logical);
  EXPECT_EQ(trtllm.layers, placement.layers);
  const ExpertPlacement ascend = read_back(PlacementFormat::kVllmAscend);
  EXPECT_EQ(ascend.physical_to_logical, placement.physical_to_logical);
  EXPECT_EQ(ascend.ranks, 2);
}

TEST_F(PlacementTest, WhatAFormatNeedsIsAskedFor) {
  ExpertPlacement placement = Replicated();
  placement.ranks = 0;
  placement.layers.clear();
  EXPECT_FALSE(RenderPlacement(placement, PlacementFormat::kVllmAscend).ok());
  EXPECT_FALSE(RenderPlacement(placement, PlacementFormat::kTrtllm).ok());
}

TEST_F(PlacementTest, PlacementsNoEngineCouldLoadAreRefused) {
  const auto error = [](const ExpertPlacement& placement) {
    const Status status = CheckPlacement(placement);
    return status.ok() ? "ok" : ToString(status.errors());
  };
  EXPECT_THAT(error({}), HasSubstr("no layers"));
  EXPECT_THAT(error({.physical_to_logical = {{0, 2}}}), HasSubstr("no slot for expert 1"));
  EXPECT_THAT(error({.physical_to_logical = {{0, 1}, {0, 0}}}), HasSubstr("no slot for expert 1"));
  EXPECT_THAT(error({.physical_to_logical = {{0, 1}, {0}}}), HasSubstr("has 1 slots"));
  EXPECT_THAT(error({.physical_to_logical = {{0, -1}}}), HasSubstr("expert -1"));
  EXPECT_THAT(error({.physical_to_logical = {{0, 1, 2}}, .ranks = 2}), HasSubstr("2 ranks"));
}

TEST_F(PlacementTest, BadFilesAreRefused) {
  EXPECT_THAT(ErrorOf("{}"), HasSubstr("is no placement"));
  EXPECT_THAT(ErrorOf(""), HasSubstr("0 bytes"));
  EXPECT_THAT(ErrorOf(R"({"physical_to_logical_map": [[0, 1], [0]]})"),
              HasSubstr("must be [layer][slot]"));
  EXPECT_THAT(ErrorOf(R"({"physical_to_logical_map": [[0, 1]]} {})"),
              HasSubstr("a second JSON document"));
  EXPECT_THAT(ErrorOf("num_slots: 2\ninitial_global_assignments: {1: [0, 1, 1]}\n"),
              HasSubstr("has 3 slots, num_slots is 2"));
  EXPECT_THAT(ErrorOf("num_slots: 2\ninitial_global_assignments: {2: [0, 1], 1: [0, 1]}\n"),
              HasSubstr("ascending"));
  EXPECT_THAT(ErrorOf("num_slots: 2\ninitial_global_assignments: [0, 1]\n"),
              HasSubstr("initial_global_assignments must be a mapping"));
  EXPECT_THAT(ErrorOf(R"({"moe_layer_count": 1, "layer_list": [{"layer_id": 0, "device_count": 2,
        "device_list": [{"device_id": 0, "device_expert": [0]},
                        {"device_id": 1, "device_expert": [1, 2]}]}]})"),
              HasSubstr("unequally many experts"));
  EXPECT_THAT(ErrorOf(R"({"moe_layer_count": 2, "layer_list": [{"layer_id": 0, "device_count": 1,
        "device_list": [{"device_id": 0, "device_expert": [0]}]}]})"),
              HasSubstr("moe_layer_count"));
}

TEST_F(PlacementTest, EnginesFilesAreRead) {
  for (const test::CaptureSet& set : {test::SmallCaptures(), test::SharedCaptures()}) {
    if (!std::filesystem::exists(set.folder)) continue;
    const auto sglang = ReadPlacement(set.folder / "sglang_init_expert_location.json");
    ASSERT_TRUE(sglang.ok()) << ToString(sglang.errors());
    EXPECT_EQ(std::ssize(sglang->physical_to_logical), set.model.layers) << set.name;
    EXPECT_EQ(std::ssize(sglang->physical_to_logical[0]), set.model.experts) << set.name;
    const auto ascend = ReadPlacement(set.folder / "vllm_ascend_expert_map.json");
    ASSERT_TRUE(ascend.ok()) << ToString(ascend.errors());
    EXPECT_EQ(ascend->physical_to_logical.size(), set.model.moe_layers.size()) << set.name;
    EXPECT_GT(ascend->ranks, 1) << set.name;
  }
  const auto recorded = ReadPlacement(test::SmallCaptures().folder / "sglang_per_pass_0.pt");
  ASSERT_TRUE(recorded.ok()) << ToString(recorded.errors());
  EXPECT_EQ(recorded->physical_to_logical[0].size(), 10u);
}

}  // namespace
}  // namespace moecast
