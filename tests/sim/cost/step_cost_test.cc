// Steps priced by hand.
#include "sim/cost/step_cost.h"

#include <gtest/gtest.h>

#include "tests/sim/cost/cost_builders.h"
#include "tests/sim/model/model_builders.h"

namespace moecast {
namespace {

StepCost Make(const ModelSpec& model, const Efficiencies& e, const Parallelism& p = {}) {
  return {model, p, test::Bf16Kv(model), test::TinyDevice(), test::TinyFabric(), e};
}

test::Step OneDecode(int64_t context) {
  test::Step step;
  test::AddDecode(step.groups.front(), context, context);
  return step;
}

double Nanoseconds(Seconds t) { return t.count() * 1e9; }

TEST(StepCost, OneDecodeTokenOfATinyModelByHand) {
  const ModelSpec model = test::TinyDenseModel();
  StepCost cost = Make(model, test::Ideal());
  // At 1 GB/s and 1 Tflop/s every op is memory-bound and takes one nanosecond per byte.
  const double embedding = 2 * 8 * 2;
  const double norms = 5 * (4 * 8 * 2);
  const double qkv = 16 * 8 * 2 + (16 + 8) * 2;
  const double rope = 2 * (4 + 2) * 2 * 2;
  const double out = 8 * 8 * 2 + (8 + 8) * 2;
  const double append = 8 * 2 + 8 * 2;
  const double attention = 10 * (8 * 2) + 4 * (2 + 2) * 2;
  const double gate_up = 32 * 8 * 2 + (32 + 8) * 2;
  const double activation = 3 * 16 * 2;
  const double down = 8 * 16 * 2 + (8 + 16) * 2;
  const double head = 32 * 8 * 2 + (32 + 8) * 2;
  const double sampling = 32 * 4;
  const StepTime time = cost.Predict(OneDecode(10).Shape());
  EXPECT_NEAR(Nanoseconds(time.attention), 2 * (append + attention), 1e-9);
  EXPECT_NEAR(
      Nanoseconds(time.dense),
      embedding + norms + 2 * (qkv + rope + out + gate_up + activation + down) + head + sampling,
      1e-9);
  EXPECT_EQ(time.experts.count(), 0);
  EXPECT_EQ(time.collectives.count(), 0);
  EXPECT_EQ(time.host.count(), 0);
  EXPECT_NEAR(static_cast<double>(time.total.count()), 4528, 1);
}

TEST(StepCost, MemoryBoundExpertTimeIsLinearInDistinctExperts) {
  const ModelSpec model = test::DeepSeekV2Lite();
  Efficiencies e = test::Ideal();
  e.experts = {.memory = 0.5, .compute = 1, .fixed = Seconds(25e-6)};
  StepCost cost = Make(model, e);
  const double expert_bytes = 3.0 * 2048 * 1408 * 2;
  const auto experts_at = [&](double distinct) {
    test::Step step = OneDecode(1);
    // Six assignments whichever experts they fall on.
    step.experts.assign(26, {.assignments = 6, .distinct = distinct, .padded_rows = distinct});
    return cost.Predict(step.Shape()).experts.count();
  };
  for (const double distinct : {1.0, 2.0, 5.0}) {
    EXPECT_NEAR(experts_at(distinct + 1) - experts_at(distinct), 26 * expert_bytes / 0.5e9, 1e-9);
  }
}

TEST(StepCost, ALayerWaitsForItsSlowestExpertRank) {
  const ModelSpec model = test::TinyMoeModel();
  const Parallelism p{.tensor = 1, .data = 2, .expert = 2};
  StepCost cost = Make(model, test::Ideal(), p);
  test::Step step;
  step.groups.resize(2);
  for (AttentionLoad& load : step.groups) test::AddDecode(load, 4, 4);
  const auto experts_of = [&](const ExpertLoad& first, const ExpertLoad& second) {
    step.experts = {first, second};
    return cost.Predict(step.Shape()).experts.count();
  };
  const ExpertLoad light = test::LoadOf(1, 1);
  const ExpertLoad heavy = test::LoadOf(3, 1);
  EXPECT_EQ(experts_of(light, heavy), experts_of(heavy, light));
  EXPECT_EQ(experts_of(heavy, heavy), experts_of(heavy, light));
  EXPECT_GT(experts_of(light, heavy), experts_of(light, light));
}

TEST(StepCost, TheSlowestAttentionGroupSetsTheStep) {
  const ModelSpec model = test::TinyMoeModel();
  const Parallelism p{.tensor = 1, .data = 2, .expert = 2};
  StepCost cost = Make(model, test::Ideal(), p);
  test::Step step;
  step.experts.assign(2, test::LoadOf(1, 1));
  step.groups.resize(2);
  test::AddDecode(step.groups[0], 1000, 1000);
  test::AddDecode(step.groups[1], 10, 10);
  const StepTime uneven = cost.Predict(step.Shape());
  std::swap(step.groups[0], step.groups[1]);
  EXPECT_EQ(cost.Predict(step.Shape()).total, uneven.total);
  step.groups[0] = step.groups[1];
  EXPECT_EQ(cost.Predict(step.Shape()).attention.count(), uneven.attention.count());
}

TEST(StepCost, DispatchAndCombineSendTheFullestRanksRemoteRows) {
  const ModelSpec model = test::TinyMoeModel();
  const Parallelism p{.tensor = 1, .data = 2, .expert = 2};
  StepCost cost = Make(model, test::Ideal(), p);
  test::Step step;
  step.groups.resize(2);
  for (AttentionLoad& load : step.groups) {
    for (int i = 0; i < 5; ++i) test::AddDecode(load, 1, 1);
  }
  step.experts = {test::LoadOf(2, 2), test::LoadOf(2, 3)};  // 4 and 6 assignments
  // Two exchanges of one message; half of 6 rows of 8 bf16 elements leaves over 100 MB/s.
  const double bytes = 6 * 0.5 * 8 * 2;
  EXPECT_DOUBLE_EQ(cost.Predict(step.Shape()).collectives.count(), 2 * (1e-6 + bytes / 1e8));
}

TEST(StepCost, EagerLaunchesCostOnlyWhatTheGpuDoesNotHide) {
  const ModelSpec model = test::TinyDenseModel();
  Efficiencies e = test::Ideal();
  StepCost instant = Make(model, e);
  test::Step step = OneDecode(10);
  step.graph = false;
  const double gpu = static_cast<double>(instant.Predict(step.Shape()).total.count());
  const double launches = 24;  // 1 + 5 norms + 2 layers * 8 + 2
  e.eager_launch = Seconds(gpu * 1e-9 / launches / 2);
  EXPECT_EQ(Make(model, e).Predict(step.Shape()).host.count(), 0);
  e.eager_launch = Seconds(gpu * 1e-9);
  EXPECT_NEAR(static_cast<double>(Make(model, e).Predict(step.Shape()).total.count()),
              launches * gpu, launches);
  step.graph = true;
  EXPECT_EQ(Make(model, e).Predict(step.Shape()).host.count(), 0);
}

TEST(StepCost, HostTimeIsPerStepAndPerSequenceAndPromptTokenOfTheFullestGroup) {
  const ModelSpec model = test::TinyMoeModel();
  Efficiencies e = test::Ideal();
  e.host_per_step = Seconds(1e-3);
  e.host_per_sequence = Seconds(1e-5);
  e.host_per_prefill_token = Seconds(1e-6);
  StepCost cost = Make(model, e, {.tensor = 1, .data = 2, .expert = 2});
  test::Step step;
  step.groups.resize(2);
  step.experts.resize(2);
  for (int i = 0; i < 3; ++i) test::AddDecode(step.groups[1], 1, 1);
  test::AddPrefill(step.groups[1], 4, 0, 4);
  test::AddDecode(step.groups[0], 1, 1);
  EXPECT_DOUBLE_EQ(cost.Predict(step.Shape()).host.count(), 1e-3 + 4 * 1e-5 + 4 * 1e-6);
}

TEST(StepCost, AnEmptyStepStillTakesOneNanosecond) {
  const ModelSpec model = test::TinyDenseModel();
  EXPECT_EQ(Make(model, test::Ideal()).Predict(test::Step{}.Shape()).total, Duration(1));
}

TEST(StepCost, DecodingReadsTheActiveWeightsOnce) {
  const ModelSpec model = test::DeepSeekV2Lite();
  StepCost cost = Make(model, test::Ideal());
  test::Step step = OneDecode(1);
  step.experts.assign(26, test::LoadOf(6, 1));
  double bytes = 0;
  for (const OpLine& line : cost.Explain(step.Shape())) {
    if (line.name.starts_with("gemm.") || line.name == "experts") {
      bytes += line.bytes.count() * static_cast<double>(line.count);
    }
  }
  // Every active matrix but the token embedding, of which one row is read; activations add little.
  const double embedding = 2048.0 * 102400;
  const double weights = (CountParameters(model).active - embedding) * 2;
  EXPECT_GE(bytes, weights);
  EXPECT_LE(bytes, weights * 1.01);
}

}  // namespace
}  // namespace moecast
