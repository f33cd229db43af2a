// What the executor launches for a step is what the simulator prices: every scenario of
// scenarios/validation, op by op.
#include "kernels/execute/step_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <set>

#include "scenarios/scenario_codec.h"
#include "sim/model/lower.h"
#include "sim/policy/kv_policy.h"
#include "sim/run/build.h"
#include "sim/validate/execute_study.h"

namespace moecast {
namespace {

using kernels::PlannedOp;
using kernels::ProductSize;
using kernels::StepForm;
using ::testing::ElementsAre;

struct NamedScenario {
  std::string name;
  Scenario scenario;
};

/// One case per scenario file and variant.
std::vector<NamedScenario> ValidationCases() {
  std::vector<NamedScenario> cases;
  for (const auto& entry : std::filesystem::directory_iterator("scenarios/validation")) {
    const Study study = LoadStudy(entry.path(), {}, "scenarios/catalog").value();
    for (const StudyCase& c : study.cases) cases.push_back({study.name, c.scenario});
  }
  return cases;
}

/// Steps of a few kinds: decodes padded to a graph, prompts alone, chunks over a past among
/// decodes.
std::vector<StepForm> Forms() {
  return {{.rows = 8, .decode_rows = 8, .logit_rows = 8},
          {.rows = 500,
           .chunks = 2,
           .chunk_rows = 500,
           .most_chunk_tokens = 300,
           .context_rows = 500,
           .logit_rows = 2,
           .compute_bound = true},
          {.rows = 103,
           .decode_rows = 3,
           .chunks = 1,
           .chunk_rows = 100,
           .most_chunk_tokens = 100,
           .context_rows = 356,
           .logit_rows = 4}};
}

AttentionLoad LoadOf(const StepForm& form) {
  AttentionLoad load{.prefill_tokens = form.chunk_rows,
                     .prefill_chunks = form.chunks,
                     .prefill_pairs = double{1} * form.chunk_rows * form.context_rows,
                     .prefill_context = form.context_rows,
                     .prefill_longest = form.context_rows,
                     .decode_sequences = form.decode_rows,
                     .decode_context = int64_t{100} * form.decode_rows};
  load.prefill_pairs_window = load.prefill_pairs;
  load.prefill_context_window = load.prefill_context;
  load.decode_context_window = load.decode_context;
  load.decode_longest = form.decode_rows > 0 ? 100 : 0;
  return load;
}

/// How often each op runs; of products how often each size.
struct Counted {
  std::map<std::string, int64_t> ops;
  std::map<std::pair<std::string, ProductSize>, int64_t> products;
};

int32_t Int(int64_t value) { return static_cast<int32_t>(value); }

Counted Priced(const Scenario& scenario, const StepForm& form) {
  const ModelSpec& model = scenario.model;
  const AttentionLoad load = LoadOf(form);
  const std::vector<ExpertLoad> experts(static_cast<size_t>(model.moe_layer_count()),
                                        {.assignments = 8, .distinct = 8});
  const StepShape step{.attention = {&load, 1},
                       .rows_per_group = form.rows,
                       .logit_rows_per_group = form.logit_rows,
                       .graph = form.chunks == 0,
                       .experts = experts};
  const Lowering lowering(model, scenario.parallelism, PlanKv(scenario));
  std::vector<CountedOp> ops;
  lowering.Lower(step, load, ops);
  Counted counted;
  for (const CountedOp& op : ops) {
    const std::string name(OpName(op.op));
    if (name == "gemm.router") continue;  // inside the route kernel
    const auto* const gemm = std::get_if<Gemm>(&op.op);
    if (gemm == nullptr) {
      counted.ops[name] += op.count;
      continue;
    }
    const ProductSize size{.rows = Int(gemm->rows),
                           .outputs = Int(gemm->n),
                           .inputs = Int(gemm->k),
                           .batch = Int(gemm->batch)};
    counted.products[{name, size}] += op.count;
  }
  return counted;
}

Counted Launched(const Scenario& scenario, const StepForm& form) {
  const bool rotated = std::get<UniformKv>(scenario.kv).scheme.rotated;
  Counted counted;
  std::set<int32_t> writing_layers;  // decodes and chunks are written by a launch each
  for (const PlannedOp& op : PlanStep(scenario.model, {.rotated = rotated}, form)) {
    const std::string name(op.op);
    if (op.product.rows > 0) {
      ++counted.products[{name, op.product}];
    } else if (name == "kv_append") {
      writing_layers.insert(op.layer);
    } else if (op.launch != kernels::StepLaunch::kGatherLast) {
      ++counted.ops[name];
    }
  }
  counted.ops["kv_append"] = static_cast<int64_t>(writing_layers.size());
  return counted;
}

TEST(PlanStep, LaunchesWhatTheSimulatorPricesInEveryValidationScenario) {
  const std::vector<NamedScenario> cases = ValidationCases();
  ASSERT_GE(cases.size(), 24U);
  for (const NamedScenario& c : cases) {
    for (const StepForm& form : Forms()) {
      const Counted priced = Priced(c.scenario, form);
      const Counted launched = Launched(c.scenario, form);
      EXPECT_EQ(priced.ops, launched.ops) << c.name << ", " << form.rows << " rows";
      EXPECT_TRUE(priced.products == launched.products) << c.name << ", " << form.rows << " rows";
    }
  }
}

std::vector<std::string> NamesOfLayer(const ModelSpec& model, const StepForm& form, int32_t layer) {
  std::vector<std::string> names;
  for (const PlannedOp& op : PlanStep(model, {}, form)) {
    if (op.layer == layer) names.emplace_back(op.op);
  }
  return names;
}

ModelSpec ModelOf(const std::string& scenario) {
  const std::filesystem::path file = "scenarios/validation/" + scenario + ".yaml";
  return LoadStudy(file, {}, "scenarios/catalog").value().cases.front().scenario.model;
}

TEST(PlanStep, AttendsToAWindowBeforeAChunkOverwritesIt) {
  EXPECT_THAT(NamesOfLayer(ModelOf("gpt_oss_20b_bf16"), Forms()[2], 5),
              ElementsAre("elementwise.norm", "gemm.qkv", "elementwise.rope", "attention.prefill",
                          "kv_append", "kv_append", "attention.decode", "gemm.attention_out",
                          "elementwise.norm", "route", "experts"));
}

TEST(PlanStep, ExpandsLatentsForChunksAndAbsorbsForDecodes) {
  EXPECT_THAT(NamesOfLayer(ModelOf("deepseek_v2_lite_bf16"), Forms()[2], 5),
              ElementsAre("elementwise.norm", "gemm.mla_down", "gemm.mla_query_up",
                          "elementwise.rope", "kv_append", "kv_append", "elementwise.mla_past",
                          "gemm.mla_key_value_up", "elementwise.mla_keys", "attention.prefill",
                          "gemm.mla_absorb_query", "attention.decode", "gemm.mla_absorb_value",
                          "gemm.attention_out", "elementwise.norm", "gemm.shared_gate_up",
                          "elementwise.activation", "gemm.shared_down", "route", "experts"));
}

TEST(PlanStep, GivesADenseLayerNoExperts) {
  EXPECT_THAT(
      NamesOfLayer(ModelOf("deepseek_v2_lite_bf16"), Forms()[0], 0),
      ElementsAre("elementwise.norm", "gemm.mla_down", "gemm.mla_query_up", "elementwise.rope",
                  "kv_append", "gemm.mla_absorb_query", "attention.decode", "gemm.mla_absorb_value",
                  "gemm.attention_out", "elementwise.norm", "gemm.dense_gate_up",
                  "elementwise.activation", "gemm.dense_down"));
}

}  // namespace
}  // namespace moecast
