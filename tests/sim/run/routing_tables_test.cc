#include "sim/run/routing_tables.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sim/run/build.h"
#include "tests/sim/run/tiny_study.h"
#include "tests/support/temporary_folder.h"
#include "traces/routing_writer.h"

namespace moecast {
namespace {

using test::TemporaryFolder;
using test::TinyStudy;
using ::testing::HasSubstr;

/// A trace of one token without scores: one MoE layer, top-2.
void WriteOneToken(const std::filesystem::path& path, int32_t experts) {
  const RoutingHeader header{
      .source = "test", .model = "other", .moe_layers = {1}, .experts = experts, .top_k = 2};
  RoutingWriter writer = RoutingWriter::Create(path, header).value();
  RoutingChunk chunk;
  chunk.tokens = 1;
  chunk.ids = {3, 4};
  ASSERT_TRUE(writer.Add(chunk).ok());
  ASSERT_TRUE(writer.Commit().ok());
}

TEST(RoutingTables, AreSharedByCasesWithEqualRoutingAndSelection) {
  const Study study = TinyStudy();
  const RoutingTables tables = LoadRoutingTables(study.cases, 1).value();
  EXPECT_EQ(tables[0].table(), tables[2].table());
  EXPECT_EQ(tables[1].table(), tables[3].table());
  EXPECT_NE(tables[0].table(), tables[1].table());
}

TEST(RoutingTables, ReplayTheSameSequencesUnderEverySelection) {
  const Study study = TinyStudy();
  const RoutingTables tables = LoadRoutingTables(study.cases, 1).value();
  ASSERT_EQ(tables[0].table()->sequence_count(), tables[1].table()->sequence_count());
  EXPECT_EQ(tables[0].table()->selection().mean_kept, 2);
  EXPECT_EQ(tables[1].table()->selection().mean_kept, 1);
  EXPECT_LT(tables[1].table()->selection().kept_gate_mass, 1);
}

TEST(RoutingTables, DoNotDependOnTheNumberOfThreads) {
  const Study study = TinyStudy();
  const RoutingTables one = LoadRoutingTables(study.cases, 1).value();
  const RoutingTables four = LoadRoutingTables(study.cases, 4).value();
  for (size_t i = 0; i < one.size(); ++i) {
    EXPECT_EQ(one[i].table()->selection().kept_gate_mass,
              four[i].table()->selection().kept_gate_mass);
    for (uint32_t s = 0; s < one[i].table()->sequence_count(); ++s) {
      const SequenceId sequence(s);
      ASSERT_EQ(one[i].table()->row_count(sequence, RoutingPhase::kPrefill),
                four[i].table()->row_count(sequence, RoutingPhase::kPrefill));
    }
  }
}

TEST(RoutingTables, DoNotDependOnHowMuchOfThemStaysInMemory) {
  const Study study = TinyStudy();
  const RoutingTables memory = LoadRoutingTables(study.cases, 1).value();
  const RoutingTables disk = LoadRoutingTables(study.cases, 1, 1 << 20).value();
  for (size_t i = 0; i < memory.size(); ++i) {
    EXPECT_EQ(memory[i].table()->selection().mean_kept, disk[i].table()->selection().mean_kept);
    EXPECT_EQ(memory[i].table()->sequence_count(), disk[i].table()->sequence_count());
  }
}

TEST(RoutingTables, AreAbsentForDenseModelsAndClosedForms) {
  Study study = TinyStudy();
  study.cases[0].scenario.model = test::TinyDenseModel();
  study.cases[1].scenario.routing = UniformRouting{};
  const RoutingTables tables = LoadRoutingTables(study.cases, 1).value();
  EXPECT_TRUE(tables[0].rules.rules.empty());
  EXPECT_TRUE(tables[1].rules.rules.empty());
  EXPECT_NE(tables[2].table(), nullptr);
}

TEST(RoutingTables, RefuseATraceWithoutScoresUnderARuleThatNeedsThem) {
  const TemporaryFolder folder;
  WriteOneToken(folder / "t.routing", 8);
  Study study = TinyStudy();
  study.cases.resize(1);
  study.cases[0].scenario.routing = ReplayRouting{folder / "t.routing"};
  study.cases[0].scenario.experts = TopP{{{0.5}}};
  const Result<RoutingTables> tables = LoadRoutingTables(study.cases, 1);
  ASSERT_FALSE(tables.ok());
  EXPECT_THAT(tables.errors().front().message, HasSubstr("no gate scores"));
}

TEST(RoutingTables, RefuseATraceWithoutFurtherRanksUnderARuleThatSendsTokensThere) {
  const TemporaryFolder folder;
  WriteOneToken(folder / "t.routing", 8);
  Study study = TinyStudy();
  study.cases.resize(1);
  study.cases[0].scenario.routing = ReplayRouting{folder / "t.routing"};
  study.cases[0].scenario.experts =
      ExpertPolicy(std::vector<ExpertRule>{BatchRule{.kind = Oea{.base_k = 1}}});
  const Result<RoutingTables> tables = LoadRoutingTables(study.cases, 1);
  ASSERT_FALSE(tables.ok());
  EXPECT_THAT(tables.errors().front().message, HasSubstr("records the best 2 experts"));
  EXPECT_THAT(tables.errors().front().message, HasSubstr("experts.oea.max_rank to at most 2"));
  EXPECT_THAT(tables.errors().front().where, HasSubstr("t.routing: experts.oea"));

  study.cases[0].scenario.experts =
      ExpertPolicy(std::vector<ExpertRule>{BatchRule{.kind = Oea{.base_k = 1, .max_rank = 2}}});
  const Result<RoutingTables> within = LoadRoutingTables(study.cases, 1);
  ASSERT_TRUE(within.ok());
  EXPECT_EQ(within->front().table(), nullptr);
  EXPECT_NE(within->front().rules.rules.front().ranked, nullptr);
}

TEST(RoutingTables, PrunedRoutingHasTheExpertsThatStay) {
  Study study = TinyStudy();
  study.cases.resize(1);
  Scenario& scenario = study.cases[0].scenario;
  scenario.pruning = PruningSpec{.experts = 3,
                                 .native_experts = scenario.model.moe->experts,
                                 .native_top_k = scenario.model.moe->top_k};
  scenario.model.moe->experts = 3;
  const RoutingTables tables = LoadRoutingTables(study.cases, 1).value();
  EXPECT_EQ(tables[0].table()->header().experts, 3);
  EXPECT_EQ(tables[0].table()->selection().mean_kept, 2);
  EXPECT_LT(tables[0].completed_share, 1);
}

TEST(RoutingTables, RefuseATraceOfAnotherModelShapeAndSayWhatDiffers) {
  const TemporaryFolder folder;
  WriteOneToken(folder / "t.routing", 16);
  Study study = TinyStudy();
  for (StudyCase& c : study.cases) c.scenario.routing = ReplayRouting{folder / "t.routing"};
  const Result<RoutingTables> tables = LoadRoutingTables(study.cases, 1);
  ASSERT_FALSE(tables.ok());
  ASSERT_EQ(tables.errors().size(), 1U);  // once, not once per case
  EXPECT_THAT(tables.errors().front().message, HasSubstr("experts 16 (the model has 8)"));
}

}  // namespace
}  // namespace moecast
