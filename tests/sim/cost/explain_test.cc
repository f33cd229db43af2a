#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

#include "sim/cost/step_cost.h"
#include "tests/sim/cost/cost_builders.h"
#include "tests/sim/model/model_builders.h"

namespace moecast {
namespace {

using ::testing::HasSubstr;

Efficiencies Plausible() {
  Efficiencies e = test::Ideal();
  for (ClassEfficiency* c : {&e.gemm, &e.experts, &e.route, &e.decode_attention,
                             &e.prefill_attention, &e.elementwise, &e.collective}) {
    *c = {.memory = 0.7, .compute = 0.6, .fixed = Seconds(3e-6)};
  }
  e.host_per_step = Seconds(1e-4);
  e.host_per_sequence = Seconds(1e-6);
  e.eager_launch = Seconds(1e-2);
  return e;
}

test::Step MixedStep(int64_t groups, int64_t loads) {
  test::Step step;
  step.graph = false;
  step.groups.resize(static_cast<size_t>(groups));
  for (AttentionLoad& load : step.groups) {
    for (int i = 1; i < 9; ++i) test::AddDecode(load, 100 * i, 128);
    test::AddPrefill(load, 77, 300, 128);
  }
  for (int64_t i = 0; i < loads; ++i) {
    step.experts.push_back(test::LoadOf(static_cast<double>(3 + i % 5), 2.5, 4));
  }
  return step;
}

/// Sums of the lines of each part, in line order.
std::array<Seconds, kStepPartCount> PartsOf(const std::vector<OpLine>& lines) {
  std::array<Seconds, kStepPartCount> parts{};
  for (const OpLine& line : lines) parts[static_cast<size_t>(line.part)] += line.all;
  return parts;
}

TEST(Explain, LinesAddUpToThePredictionExactly) {
  const ModelSpec lite = test::DeepSeekV2Lite();
  const ModelSpec tiny = test::TinyDenseModel();
  for (const auto& [model, p] : {std::pair(&lite, Parallelism{}),
                                 std::pair(&lite, Parallelism{.tensor = 2, .data = 2, .expert = 4}),
                                 std::pair(&tiny, Parallelism{.tensor = 2})}) {
    StepCost cost(*model, p, test::Bf16Kv(*model), test::TinyDevice(), test::TinyFabric(),
                  Plausible());
    const test::Step step = MixedStep(p.data, model->moe_layer_count() * p.expert);
    const StepTime time = cost.Predict(step.Shape());
    const auto parts = PartsOf(cost.Explain(step.Shape()));
    EXPECT_EQ(parts[0], time.attention);
    EXPECT_EQ(parts[1], time.experts);
    EXPECT_EQ(parts[2], time.dense);
    EXPECT_EQ(parts[3], time.collectives);
    EXPECT_EQ(parts[4], time.host);
    const Seconds sum = parts[0] + parts[1] + parts[2] + parts[3] + parts[4];
    EXPECT_EQ(RoundUpToNs(sum), time.total);
    EXPECT_EQ(time.by_label[static_cast<size_t>(Label::kAnalytic)], sum);
  }
}

TEST(Explain, EveryLineIsAnalyticAndNamesItsBound) {
  const ModelSpec model = test::DeepSeekV2Lite();
  StepCost cost(model, {}, test::Bf16Kv(model), test::TinyDevice(), test::TinyFabric(),
                Plausible());
  for (const OpLine& line : cost.Explain(MixedStep(1, 26).Shape())) {
    SCOPED_TRACE(line.name);
    EXPECT_EQ(line.label, Label::kAnalytic);
    EXPECT_FALSE(line.bound.empty());
    EXPECT_GE(line.each, std::max(line.memory_bound, line.compute_bound));
  }
}

TEST(Explain, SaysWhenAFormatIsDequantised) {
  ModelSpec model = test::TinyDenseModel();
  model.formats.dense_ffn = {.name = "fp8", .stored_bits = 8, .compute = ComputeClass::kFp8};
  DeviceSpec device = test::TinyDevice();
  device.peak[static_cast<size_t>(ComputeClass::kFp8)] = FlopsPerSecond(0);
  StepCost cost(model, {}, test::Bf16Kv(model), device, test::TinyFabric(), test::Ideal());
  int noted = 0;
  for (const OpLine& line : cost.Explain(MixedStep(1, 0).Shape())) {
    if (line.note.empty()) continue;
    ++noted;
    EXPECT_THAT(line.name, HasSubstr("gemm.dense"));
    EXPECT_THAT(line.note, HasSubstr("fp8 is not multiplied natively here: dequantised to bf16"));
  }
  EXPECT_EQ(noted, 2);
}

TEST(Explain, ExpertLineIsTheMeanOfTheSlowestRanks) {
  const ModelSpec model = test::TinyMoeModel();
  StepCost cost(model, {.tensor = 1, .data = 2, .expert = 2}, test::Bf16Kv(model),
                test::TinyDevice(), test::TinyFabric(), test::Ideal());
  test::Step step = MixedStep(2, 0);
  step.experts = {test::LoadOf(1, 1), test::LoadOf(3, 1)};
  for (const OpLine& line : cost.Explain(step.Shape())) {
    if (line.name != "experts") continue;
    EXPECT_EQ(line.bytes.count(), 3 * (3 * 8 * 4 * 2) + 3 * (3 * 8 + 6 * 4) * 2);
    EXPECT_EQ(line.flops.count(), 3 * 6 * 8 * 4);
    EXPECT_THAT(line.shape, HasSubstr("distinct 3.0"));
  }
}

TEST(Explain, NamesOfLabelsAndParts) {
  EXPECT_EQ(LabelName(Label::kAnalytic), "analytic");
  EXPECT_EQ(StepPartName(StepPart::kExperts), "experts");
}

}  // namespace
}  // namespace moecast
