// Rules of expert selection that look at a step, rules by load, and pruning: what a user writes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "scenarios/sensitivity_file.h"
#include "scenarios/similarity_file.h"
#include "sim/base/files.h"
#include "tests/scenarios/study_loading.h"
#include "tests/support/temporary_folder.h"

namespace moecast::test {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string With(const std::string& lines) { return std::string(kMinimal) + lines; }

BatchRule OnlyBatchRule(const std::string& experts) {
  const ExpertPolicy policy = OnlyScenario(With("experts: " + experts + "\n")).experts;
  EXPECT_EQ(policy.rules.size(), 1U);
  const auto* rule = std::get_if<BatchRule>(&policy.rules.front());
  EXPECT_NE(rule, nullptr);
  return rule == nullptr ? BatchRule{} : *rule;
}

TEST(ExpertRules, BatchRulesTakeTheirParametersAndScope) {
  const BatchRule oea = OnlyBatchRule("{oea: {base_k: 2, most_k: 5, max_rank: 12}}");
  EXPECT_EQ(oea.kind, BatchRule::Kind(Oea{.base_k = 2, .most_k = 5, .max_rank = 12}));
  EXPECT_EQ(oea.scope, BatchScope::kDecodeSteps);
  const BatchRule xshare =
      OnlyBatchRule("{xshare: {budget: 24, scope: {rows: all, max_tokens: 48}}}");
  EXPECT_EQ(xshare.kind, BatchRule::Kind(XShare{.budget = 24}));
  EXPECT_EQ(xshare.scope, BatchScope::kAllRows);
  EXPECT_EQ(xshare.most_tokens, 48);
  const BatchRule alloc = OnlyBatchRule("{alloc_tokens: {mean_k: [3.5]}}");
  EXPECT_EQ(alloc.kind, BatchRule::Kind(AllocTokens{.mean_k = {{3.5}}, .base_k = 1}));
  EXPECT_EQ(alloc.scope, BatchScope::kAllRows);
  EXPECT_EQ(OnlyBatchRule("{lynx: {mass: 0.7}}").kind,
            BatchRule::Kind(Lynx{.mass = 0.7, .sharpness = 1, .bins = 8, .base = 2}));
}

TEST(ExpertRules, ParametersBeyondTheModelAreErrors) {
  EXPECT_THAT(ErrorsOf(With("experts: {oea: {base_k: 7}}\n")),
              ElementsAre(HasSubstr("experts.oea.base_k: must be at most the model's top_k (6), "
                                    "got 7")));
  EXPECT_THAT(ErrorsOf(With("experts: {oea: {base_k: 3, most_k: 2}}\n")),
              ElementsAre(HasSubstr("experts.oea.most_k: must be at least base_k (3), got 2")));
  EXPECT_THAT(ErrorsOf(With("experts: {xshare: {budget: 65}}\n")),
              ElementsAre(HasSubstr("experts.xshare.budget: must be at most the model's experts "
                                    "(64), got 65")));
  EXPECT_THAT(ErrorsOf(With("experts: {alloc_tokens: {mean_k: [1], base_k: 2}}\n")),
              ElementsAre(HasSubstr("experts.alloc_tokens.mean_k.0: must be from base_k (2)")));
  EXPECT_THAT(ErrorsOf(With("experts: {eac_prefill: {threshold: 11}}\n")),
              ElementsAre(HasSubstr("experts.eac_prefill.threshold: must be at most experts")));
  EXPECT_THAT(ErrorsOf(With("experts: {xshare: {budget: 4, scope: {rows: decode}}}\n")),
              ElementsAre(HasSubstr("decode_rows")));
}

TEST(ExpertRules, RulesOfTheStepNeedRowsToLookAt) {
  EXPECT_THAT(ErrorsOf(With("routing: uniform\nexperts: {oea: {base_k: 2}}\n")),
              ElementsAre(HasSubstr("routing.uniform has only expectations")));
}

TEST(ExpertRules, RulesByLoadHaveRisingBoundsInAllArmsButTheLast) {
  const std::string text =
      "experts: {adaptive: {measure: batch, arms: [{below: 16, experts: {uniform_top_k: {k: 4}}},"
      " {below: 64, experts: {oea: {base_k: 2}}}, {experts: native}]}}\n";
  const ExpertPolicy policy = OnlyScenario(With(text)).experts;
  ASSERT_EQ(policy.rules.size(), 3U);
  EXPECT_THAT(policy.choose.below, ElementsAre(16, 64));
  EXPECT_EQ(KindOf(policy.rules[1]), SelectionKind::kOea);
  EXPECT_THAT(ErrorsOf(With("experts: {adaptive: {measure: queue, arms: [{experts: native},"
                            " {below: 3, experts: native}]}}\n")),
              ElementsAre(HasSubstr("arms.0.below: must be given"),
                          HasSubstr("arms.1.below: must be absent")));
  EXPECT_THAT(ErrorsOf(With("experts: {adaptive: {measure: queue, arms: [{below: 3, experts: "
                            "native}, {below: 3, experts: native}, {experts: native}]}}\n")),
              ElementsAre(HasSubstr("arms.1.below: must be above the bound before it (3)")));
  EXPECT_THAT(ErrorsOf(With("experts: {adaptive: {measure: slo_slack, arms: [{below: 0, experts: "
                            "native}, {experts: native}]}}\n")),
              ElementsAre(HasSubstr("slo_slack needs slo.tpot_ms")));
}

TEST(ExpertRules, PruningShrinksTheModelAndForgetsItsQuality) {
  const Study study = Parse(With("pruning: {experts: 32, by: soft_count}\n")).value();
  const Scenario& scenario = study.cases.front().scenario;
  EXPECT_EQ(scenario.model.moe->experts, 32);
  ASSERT_TRUE(scenario.pruning.has_value());
  EXPECT_EQ(scenario.pruning->native_experts, 64);
  EXPECT_EQ(scenario.pruning->order, PruningOrder::kSoftCount);
  EXPECT_THAT(study.cases.front().quality, IsEmpty());
  EXPECT_THAT(ErrorsOf(With("pruning: {experts: 64}\n")),
              ElementsAre(HasSubstr("pruning.experts: must be below the model's experts (64)")));
  EXPECT_THAT(ErrorsOf(With("pruning: {experts: 32, category: code}\n")),
              ElementsAre(HasSubstr("pruning.category: needs pruning.calibration")));
}

TEST(ExpertRules, RenormalisationIsPartOfWhatQualityIsLookedUpBy) {
  EXPECT_FALSE(Parse(With("experts: {uniform_top_k: {k: 4}}\n"))->cases.front().quality.empty());
  EXPECT_TRUE(Parse(With("experts: {uniform_top_k: {k: 4}}\nrenormalise_ranks: 6\n"))
                  ->cases.front()
                  .quality.empty());
}

TEST(SimilarityFile, NamesLineAndCell) {
  const std::vector<int32_t> layers = {1, 2};
  const auto parse = [&](const std::string& rows) {
    return ParseSimilarity("layer,expert,replacement,similarity\n" + rows, "s.csv",
                           {.moe_layers = layers, .experts = 4});
  };
  EXPECT_EQ(parse("2,0,3,0.5\n")->front(),
            (SimilarPair{.moe_layer = 1, .expert = 0, .replacement = 3, .similarity = 0.5F}));
  EXPECT_THAT(ToString(parse("2,0,4,0.5\n").errors()), HasSubstr("s.csv:2"));
  EXPECT_THAT(ToString(parse("2,0,4,0.5\n").errors()),
              HasSubstr("replacement: must be from 0 to 3"));
  EXPECT_THAT(ToString(parse("3,0,1,0.5\n").errors()), HasSubstr("3 is no MoE layer"));
  EXPECT_THAT(ToString(parse("1,0,0,0.5\n").errors()), HasSubstr("cannot stand in for itself"));
  EXPECT_THAT(ToString(parse("1,0,1,0.5\n1,0,1,0.6\n").errors()), HasSubstr("s.csv:3"));
  EXPECT_THAT(ToString(parse("1,0,1,x\n").errors()), HasSubstr("expected a number, got 'x'"));
  EXPECT_THAT(
      ToString(ParseSimilarity("a,b\n", "s.csv", {.moe_layers = layers, .experts = 4}).errors()),
      HasSubstr("expected the header"));
}

TEST(SimilarityFile, SereReadsTheFileThatTheScenarioNames) {
  const TemporaryFolder folder;
  const auto path = folder / "s.csv";
  ASSERT_TRUE(WriteFileAtomically(path, "layer,expert,replacement,similarity\n1,0,3,0.9\n").ok());
  const BatchRule rule =
      OnlyBatchRule("{sere: {primary: 2, least: 0.5, similarity: " + path.string() + "}}");
  const auto& sere = std::get<Sere>(rule.kind);
  EXPECT_THAT(sere.similarity->Replacements(0, 0), ElementsAre(3));
  ASSERT_TRUE(WriteFileAtomically(path, "layer,expert,replacement,similarity\n0,0,3,0.9\n").ok());
  EXPECT_THAT(ErrorsOf(With("experts: {sere: {primary: 2, similarity: " + path.string() + "}}\n")),
              Contains(HasSubstr("0 is no MoE layer of the model")));
}

TEST(SensitivityFile, WantsEveryLayerAndK) {
  const std::vector<int32_t> layers = {1};
  const auto parse = [&](const std::string& rows) {
    return ParseSensitivity("layer,k,loss\n" + rows, "l.csv", layers, 2);
  };
  EXPECT_THAT(parse("1,1,0.5\n1,2,0\n")->front(), ElementsAre(0.5, 0));
  EXPECT_THAT(ToString(parse("1,1,0.5\n").errors()), HasSubstr("layer 1 has no loss for k = 2"));
  EXPECT_THAT(ToString(parse("1,3,0.5\n").errors()), HasSubstr("k: must be from 1 to 2, got 3"));
  EXPECT_THAT(ToString(parse("1,1,0.5\n1,1,0.5\n").errors()), HasSubstr("given twice"));
}

}  // namespace
}  // namespace moecast::test
