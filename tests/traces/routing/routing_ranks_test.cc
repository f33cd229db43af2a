// Ranks after the top-k: kept beside the chosen experts, checked with them, split off on import.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sim/base/files.h"
#include "tests/support/temporary_folder.h"
#include "tests/traces/routing/routing_builders.h"
#include "traces/routing_import.h"
#include "traces/routing_writer.h"

namespace moecast {
namespace {

using test::TemporaryFolder;
using ::testing::ElementsAre;
using ::testing::FloatNear;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

/// Two layers, six experts, top-2 and two further ranks, scores.
RoutingHeader Header() {
  RoutingHeader header;
  header.model = "toy";
  header.moe_layers = {0, 1};
  header.experts = 6;
  header.top_k = 2;
  header.further_ranks = 2;
  header.has_scores = true;
  return header;
}

RoutingChunk Chunk() {
  RoutingChunk chunk;
  chunk.tokens = 1;
  chunk.ids = {5, 0, /**/ 1, 2};
  chunk.further_ids = {3, 4, /**/ 0, 5};
  chunk.scores = {0.5F, 0.25F, 0.4F, 0.3F};
  chunk.further_scores = {0.125F, 0.0625F, 0.2F, 0.1F};
  return chunk;
}

class RoutingRanksTest : public ::testing::Test {
 protected:
  Result<std::vector<RoutingChunk>> RoundTrip(const RoutingHeader& header,
                                              const RoutingChunk& chunk) {
    SIM_TRY(RoutingWriter writer, RoutingWriter::Create(folder_ / "t", header));
    SIM_RETURN_IF_ERROR(writer.Add(chunk));
    SIM_RETURN_IF_ERROR(writer.Commit());
    return test::ReadTrace(folder_ / "t");
  }

  std::string ErrorOf(const RoutingHeader& header, const RoutingChunk& chunk) {
    const auto result = RoundTrip(header, chunk);
    return result.ok() ? "" : ToString(result.errors());
  }

  TemporaryFolder folder_;
};

TEST_F(RoutingRanksTest, FurtherRanksComeBackBesideTheChosenExperts) {
  const auto chunks = RoundTrip(Header(), Chunk());
  ASSERT_TRUE(chunks.ok()) << ToString(chunks.errors());
  const RoutingChunk& back = chunks->front();
  EXPECT_EQ(back.ids, Chunk().ids);
  EXPECT_EQ(back.further_ids, Chunk().further_ids);
  EXPECT_THAT(back.further_scores, ElementsAre(FloatNear(0.125F, 1e-5F), FloatNear(0.0625F, 1e-5F),
                                               FloatNear(0.2F, 1e-5F), FloatNear(0.1F, 1e-5F)));
  EXPECT_EQ(RoutingReader::Open(folder_ / "t")->header(), Header());
}

TEST_F(RoutingRanksTest, AnUnknownRowIsUnknownAtEveryRank) {
  RoutingChunk chunk = Chunk();
  for (const size_t at : {size_t{2}, size_t{3}}) {
    chunk.ids[at] = chunk.further_ids[at] = kUnknownExpert;
    chunk.scores[at] = chunk.further_scores[at] = 0;
  }
  const auto chunks = RoundTrip(Header(), chunk);
  ASSERT_TRUE(chunks.ok()) << ToString(chunks.errors());
  EXPECT_EQ(chunks->front().further_ids, chunk.further_ids);
  EXPECT_EQ(RoutingReader::Open(folder_ / "t")->totals().unknown_rows, 1u);
}

TEST_F(RoutingRanksTest, AFurtherRankMayNotRepeatAChosenExpertOrBeOutOfRange) {
  RoutingChunk chunk = Chunk();
  chunk.further_ids[3] = 2;
  EXPECT_THAT(ErrorOf(Header(), chunk),
              HasSubstr("MoE layer 1 (model layer 1): expert 2 is chosen twice"));
  chunk.further_ids[3] = 6;
  EXPECT_THAT(ErrorOf(Header(), chunk), HasSubstr("expert 6 is out of range"));
}

TEST_F(RoutingRanksTest, RanksFitTheExperts) {
  RoutingHeader header = Header();
  header.further_ranks = 5;
  EXPECT_THAT(ErrorOf(header, Chunk()), HasSubstr("further_ranks is 5, allowed are 0 to 4"));
}

TEST_F(RoutingRanksTest, ATraceWithoutFurtherRanksHasNone) {
  RoutingHeader header = Header();
  header.further_ranks = 0;
  RoutingChunk chunk = Chunk();
  chunk.further_ids.clear();
  chunk.further_scores.clear();
  const auto chunks = RoundTrip(header, chunk);
  ASSERT_TRUE(chunks.ok()) << ToString(chunks.errors());
  EXPECT_THAT(chunks->front().further_ids, IsEmpty());
}

constexpr const char* kDescription = R"(source: toy engine
model: toy
experts: 6
top_k: 1
recorded_ranks: 3
moe_layers: [0]
ids: {path: ids.u8, type: u8, layout: token_layer_k}
scores: {path: w.u8, type: u8, unit: 0.01}
sequences: {csv: {path: s.csv, length: n, prompt_tokens: prompt}}
)";

class RanksImportTest : public RoutingRanksTest {
 protected:
  Result<std::vector<RoutingChunk>> Import(const std::string& description, const std::string& csv) {
    for (const auto& [name, bytes] : {std::pair<const char*, std::string>{"d.yaml", description},
                                      {"s.csv", csv},
                                      {"ids.u8", {0, 1, 2, /**/ 3, 4, 5, /**/ 2, 1, 0}},
                                      {"w.u8", {50, 20, 10, /**/ 40, 30, 20, /**/ 60, 5, 1}}}) {
      SIM_RETURN_IF_ERROR(WriteFileAtomically(folder_ / name, bytes));
    }
    SIM_TRY(const RoutingImport import, LoadRoutingImport(folder_ / "d.yaml", {}));
    SIM_TRY([[maybe_unused]] const RoutingImportNotes notes,
            ImportRouting(import, folder_ / "out", {}));
    return test::ReadTrace(folder_ / "out");
  }

  std::string ImportErrorOf(const std::string& description, const std::string& csv) {
    const auto result = Import(description, csv);
    return result.ok() ? "" : ToString(result.errors());
  }
};

TEST_F(RanksImportTest, RowsAreSplitIntoChosenAndFurtherAndTokensIntoPhases) {
  const auto chunks = Import(kDescription, "n,prompt\n3,1\n");
  ASSERT_TRUE(chunks.ok()) << ToString(chunks.errors());
  ASSERT_EQ(chunks->size(), 2u);
  EXPECT_EQ((*chunks)[0].phase, RoutingPhase::kPrefill);
  EXPECT_THAT((*chunks)[0].ids, ElementsAre(0));
  EXPECT_THAT((*chunks)[0].further_ids, ElementsAre(1, 2));
  EXPECT_EQ((*chunks)[1].phase, RoutingPhase::kDecode);
  EXPECT_EQ((*chunks)[1].first_position, 1);
  EXPECT_THAT((*chunks)[1].ids, ElementsAre(3, 2));
  EXPECT_THAT((*chunks)[1].further_ids, ElementsAre(4, 5, 1, 0));
  EXPECT_THAT((*chunks)[1].scores, ElementsAre(FloatNear(0.4F, 1e-5F), FloatNear(0.6F, 1e-5F)));
}

TEST_F(RanksImportTest, ASequenceMayBeAllPromptOrAllAnswer) {
  const auto prompt = Import(kDescription, "n,prompt\n3,3\n");
  ASSERT_TRUE(prompt.ok()) << ToString(prompt.errors());
  ASSERT_EQ(prompt->size(), 1u);
  EXPECT_EQ(prompt->front().phase, RoutingPhase::kPrefill);
  const auto answer = Import(kDescription, "n,prompt\n3,0\n");
  ASSERT_TRUE(answer.ok()) << ToString(answer.errors());
  EXPECT_EQ(answer->front().phase, RoutingPhase::kDecode);
}

TEST_F(RanksImportTest, WhatCannotBeSplitIsRefused) {
  EXPECT_THAT(ImportErrorOf(kDescription, "n,prompt\n3,4\n"), HasSubstr("prompt is '4', allowed"));
  std::string d = kDescription;
  EXPECT_THAT(ImportErrorOf(d + "phase: decode\n", "n,prompt\n3,1\n"),
              HasSubstr("which tells the phases"));
  d.replace(d.find("token_layer_k"), 13, "layer_token_k");
  EXPECT_THAT(ImportErrorOf(d, "n,prompt\n3,1\n"), HasSubstr("whose blocks have one phase"));
  d = kDescription;
  d.replace(d.find("recorded_ranks: 3"), 17, "recorded_ranks: 7");
  EXPECT_THAT(ImportErrorOf(d, "n,prompt\n3,1\n"), HasSubstr("recorded_ranks"));
}

}  // namespace
}  // namespace moecast
