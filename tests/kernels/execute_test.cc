// The host half of the step executor: routing images and page tables.
#include <gtest/gtest.h>

#include <bit>
#include <set>

#include "kernels/execute/kv_pages.h"
#include "kernels/execute/routing_image.h"
#include "kernels/execute/step_form.h"
#include "kernels/ops/route/reference.h"
#include "tests/support/property.h"

namespace moecast::kernels {
namespace {

/// Random distinct experts, some slots skipped, for `tokens` tokens of every layer.
std::vector<uint16_t> DrawIds(RngStream& rng, const RoutingShape& shape, int32_t tokens) {
  std::vector<uint16_t> ids;
  for (int32_t t = 0; t < shape.layers * tokens; ++t) {
    std::set<uint16_t> chosen;
    const auto kept = 1 + rng.NextBelow(static_cast<uint64_t>(shape.top_k));
    while (chosen.size() < kept) {
      chosen.insert(static_cast<uint16_t>(rng.NextBelow(static_cast<uint64_t>(shape.experts))));
    }
    std::vector<uint16_t> slots(chosen.begin(), chosen.end());
    slots.resize(static_cast<size_t>(shape.top_k), RoutingImage::kNone);
    ids.insert(ids.end(), slots.begin(), slots.end());
  }
  return ids;
}

TEST(RoutingImage, IsTheAlignmentOfTheReferenceInEveryLayer) {
  RngStream rng({.seed = 11}, "test/routing_image");
  RoutingImage image;
  for (const RoutingShape& shape : {RoutingShape{.layers = 3, .rows = 8, .top_k = 2, .experts = 8},
                                    {.layers = 1, .rows = 1, .top_k = 4, .experts = 5},
                                    {.layers = 2, .rows = 40, .top_k = 8, .experts = 128}}) {
    const int32_t tokens = std::max(1, shape.rows - 3);  // the rest is padding
    const std::vector<uint16_t> ids = DrawIds(rng, shape, tokens);
    const std::span<const int32_t> words = image.Fill(shape, ids);
    const RoutingLayout at = LayoutOf(shape);
    ASSERT_EQ(words.size(), static_cast<size_t>(shape.layers) * at.layer_words);
    const auto slots = static_cast<size_t>(tokens * shape.top_k);
    for (size_t layer = 0; layer < static_cast<size_t>(shape.layers); ++layer) {
      std::vector<int32_t> expert_of_slot;
      for (size_t s = 0; s < slots; ++s) {
        const uint16_t id = ids[layer * slots + s];
        expert_of_slot.push_back(id == RoutingImage::kNone ? shape.experts : id);
      }
      const ExpertShape routed{.tokens = tokens, .top_k = shape.top_k, .experts = shape.experts};
      const reference::Alignment expected = reference::Align(routed, expert_of_slot);
      const auto equals = [&](size_t offset, const std::vector<int32_t>& values) {
        for (size_t i = 0; i < values.size(); ++i) {
          ASSERT_EQ(words[layer * at.layer_words + offset + i], values[i]);
        }
      };
      equals(at.active_count, {static_cast<int32_t>(expected.active_experts.size())});
      equals(at.active_experts, expected.active_experts);
      equals(at.offsets, expected.offsets);
      equals(at.slot_token, expected.slot_token);
      equals(at.position_of_slot, expected.position_of_slot);
    }
  }
}

TEST(RoutingImage, GivesATokensKeptExpertsWeightsThatSumToOneAndPaddingNone) {
  RngStream rng({.seed = 12}, "test/routing_image");
  const RoutingShape shape{.layers = 2, .rows = 16, .top_k = 4, .experts = 16};
  const std::vector<uint16_t> ids = DrawIds(rng, shape, 12);
  RoutingImage image;
  const std::span<const int32_t> words = image.Fill(shape, ids);
  const RoutingLayout at = LayoutOf(shape);
  for (size_t layer = 0; layer < 2; ++layer) {
    for (size_t token = 0; token < 16; ++token) {
      float sum = 0;
      int kept = 0;
      for (size_t j = 0; j < 4; ++j) {
        const size_t slot = layer * at.layer_words + token * 4 + j;
        sum += std::bit_cast<float>(words[at.weight_of_slot + slot]);
        kept += words[at.position_of_slot + slot] >= 0 ? 1 : 0;
      }
      EXPECT_NEAR(sum, token < 12 ? 1 : 0, 1e-6);
      EXPECT_EQ(kept > 0, token < 12);
    }
  }
}

TEST(RoutingImage, StartsEveryArrayAtSixteenBytes) {
  for (int32_t rows = 1; rows < 6; ++rows) {
    const RoutingLayout at = LayoutOf({.layers = 1, .rows = rows, .top_k = 3, .experts = 7});
    for (const size_t offset : {at.active_experts, at.active_count, at.offsets, at.slot_token,
                                at.position_of_slot, at.weight_of_slot, at.layer_words}) {
      EXPECT_EQ(offset % 4, 0U);
    }
  }
}

FormLimits SomeLimits() {
  return {
      .vocabulary = 1000, .moe_layers = 2, .experts = 8, .memory_bound_rows = 16, .row_pages = 4};
}

TEST(Describe, PadsADecodeStepWithSequencesOfNothing) {
  const std::vector<SequenceWork> work{
      {.slot = 3, .past = 10, .tokens = 1, .decodes = true, .emits = true},
      {.slot = 1, .past = 99, .tokens = 1, .decodes = true, .emits = true}};
  StepInputs inputs;
  const StepForm form = Describe({.sequences = work, .rows = 4, .logit_rows = 4, .graph = true},
                                 SomeLimits(), inputs);
  EXPECT_EQ(form, (StepForm{.rows = 4, .decode_rows = 4, .logit_rows = 4, .row_pages = 4}));
  EXPECT_EQ(inputs.lengths, (std::vector<int32_t>{11, 100, 0, 0}));
  EXPECT_EQ(inputs.positions, (std::vector<int32_t>{10, 99, 0, 0}));
}

TEST(Describe, PutsChunksBehindDecodesAndAsksForLogitsOfWhatEmits) {
  const std::vector<SequenceWork> work{
      {.slot = 0, .past = 7, .tokens = 1, .decodes = true, .emits = true},
      {.slot = 1, .past = 0, .tokens = 5, .emits = true},
      {.slot = 2, .past = 64, .tokens = 12}};
  StepInputs inputs;
  const StepForm form =
      Describe({.sequences = work, .rows = 18, .logit_rows = 2}, SomeLimits(), inputs);
  EXPECT_EQ(form, (StepForm{.rows = 18,
                            .decode_rows = 1,
                            .chunks = 2,
                            .chunk_rows = 17,
                            .most_chunk_tokens = 12,
                            .context_rows = 81,
                            .logit_rows = 2,
                            .row_pages = 4,
                            .compute_bound = true}));
  EXPECT_EQ(inputs.lengths, (std::vector<int32_t>{8, 5, 76}));
  EXPECT_EQ(inputs.chunk_starts, (std::vector<int32_t>{0, 5, 17}));
  EXPECT_EQ(inputs.past, (std::vector<int32_t>{0, 64}));
  EXPECT_EQ(inputs.key_starts, (std::vector<int32_t>{0, 5, 81}));
  EXPECT_EQ(inputs.logit_index, (std::vector<int32_t>{0, 5}));
  EXPECT_EQ(inputs.positions[6], 64);
  EXPECT_EQ(inputs.token_ids.size(), 18U);
  for (const int32_t id : inputs.token_ids) EXPECT_LT(id, 1000);
}

std::vector<int32_t> TableOf(const KvPages& pages, std::span<const SequenceWork> sequences,
                             int32_t row_pages) {
  std::vector<int32_t> table(sequences.size() * static_cast<size_t>(row_pages));
  pages.FillTable(sequences, row_pages, table);
  return table;
}

TEST(KvPages, GiveEverySequenceItsOwnPagesAsItGrows) {
  KvPages pages({.pages = 8});
  std::vector<SequenceWork> step{{.slot = 0, .past = 0, .tokens = 65},
                                 {.slot = 7, .past = 0, .tokens = 64}};
  ASSERT_TRUE(pages.Prepare(step));
  EXPECT_EQ(pages.longest(), 2);
  const std::vector<int32_t> before = TableOf(pages, step, 2);
  EXPECT_EQ(std::set<int32_t>({before[0], before[1], before[2]}).size(), 3U);
  step = {{.slot = 0, .past = 65, .tokens = 1}, {.slot = 7, .past = 64, .tokens = 1}};
  ASSERT_TRUE(pages.Prepare(step));
  const std::vector<int32_t> after = TableOf(pages, step, 2);
  EXPECT_EQ(after[0], before[0]);
  EXPECT_EQ(after[1], before[1]);
  EXPECT_EQ(after[2], before[2]);
  EXPECT_EQ(std::set<int32_t>(after.begin(), after.end()).size(), 4U);
  EXPECT_EQ(pages.free_pages(), 4);
}

TEST(KvPages, TakeBackWhatAbsentAndRestartedSequencesHeld) {
  KvPages pages({.pages = 4, .window_pages = 4, .window_per_sequence = 2});
  std::vector<SequenceWork> step{{.slot = 0, .past = 0, .tokens = 128},
                                 {.slot = 1, .past = 0, .tokens = 128}};
  ASSERT_TRUE(pages.Prepare(step));
  EXPECT_EQ(pages.free_pages(), 0);
  step = {{.slot = 1, .past = 128, .tokens = 1}};
  EXPECT_TRUE(pages.Prepare(step));  // slot 0 is gone, slot 1 takes a third page
  EXPECT_EQ(pages.free_pages(), 1);
  step = {{.slot = 1, .past = 0, .tokens = 10}};
  EXPECT_TRUE(pages.Prepare(step));
  EXPECT_EQ(pages.free_pages(), 3);
  std::vector<int32_t> window(2);
  pages.FillWindowTable(step, window);
  EXPECT_NE(window[0], window[1]);
}

TEST(KvPages, SayWhenAPoolIsTooSmall) {
  KvPages pages({.pages = 2});
  const std::vector<SequenceWork> step{{.slot = 0, .past = 0, .tokens = 129}};
  EXPECT_FALSE(pages.Prepare(step));
}

}  // namespace
}  // namespace moecast::kernels
