// StepCost with a profile: labels, intervals, explanations and floors of whole steps.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>

#include "sim/base/rng.h"
#include "sim/cost/step_cost.h"
#include "tests/sim/cost/cost_builders.h"
#include "tests/sim/model/model_builders.h"

namespace moecast {
namespace {

constexpr double kExpertElements = 3.0 * 2048 * 1408;
double RowSeconds(double distinct) { return 1e-3 + 1e-9 * distinct * kExpertElements; }
/// Distinct bf16 experts, two rows each, at the tiny device's datasheet rates.
double FloorSeconds(double distinct) {
  const DeviceSpec device = test::TinyDevice();
  return std::max(distinct * kExpertElements * 2 / device.hbm_bandwidth.count(),
                  2 * 2 * distinct * kExpertElements / device.peak_of(ComputeClass::kBf16).count());
}

/// One fused expert kernel of DeepSeek-V2-Lite's shape, faster than the tiny device's roofline, at
/// which steps are therefore priced.
std::shared_ptr<const Profile> ExpertProfile(const ModelSpec& model) {
  Profile profile;
  profile.name = "unit";
  KernelProfile kernel;
  kernel.op = "experts";
  kernel.format = model.formats.experts.name;
  kernel.measured = {.half80 = 0.01, .half95 = 0.02};
  kernel.interpolated = {.half80 = 0.05, .half95 = 0.1};
  kernel.extrapolated = {.half80 = 0.1, .half95 = 0.3};
  ShapeProfile shape;
  shape.shape[Feature::kHidden] = static_cast<double>(model.hidden);
  shape.shape[Feature::kIntermediate] = static_cast<double>(model.moe->expert_intermediate);
  shape.shape[Feature::kExperts] = static_cast<double>(model.moe->experts);
  shape.fit.fixed = 1e-3;
  shape.fit.per_memory = {1e-9, 0, 0};
  for (double distinct = 1; distinct <= 64; distinct *= 2) {
    shape.rows.push_back({.axes = {64, 2 * distinct, distinct, 2 * distinct, 2},
                          .seconds = RowSeconds(distinct),
                          .weight = 0});
  }
  kernel.any_shape = shape.fit;
  kernel.shapes.push_back(shape);
  profile.kernels.push_back(kernel);
  return std::make_shared<const Profile>(profile);
}

class ProfiledStep : public testing::Test {
 protected:
  ProfiledStep() {
    AddDecodes(64);
    efficiencies_.error = {.half80 = 0.2, .half95 = 0.5};
  }
  void AddDecodes(int count) {
    for (int i = 0; i < count; ++i) test::AddDecode(step_.groups[0], 500, 500);
  }
  void SetLoads(double distinct) {
    step_.experts.assign(static_cast<size_t>(model_.moe_layer_count()), test::LoadOf(distinct, 2));
  }
  [[nodiscard]] StepCost Cost(bool profiled) const {
    return {model_,
            {},
            test::Bf16Kv(model_),
            test::TinyDevice(),
            test::TinyFabric(),
            efficiencies_,
            profiled ? ExpertProfile(model_) : nullptr};
  }
  ModelSpec model_ = test::DeepSeekV2Lite();
  Efficiencies efficiencies_ = test::Ideal();
  test::Step step_;
};

double Sum(const StepTime& time) {
  double sum = 0;
  for (const Seconds each : time.by_label) sum += each.count();
  return sum;
}

TEST_F(ProfiledStep, WithoutAProfileEverythingIsAnalyticAndHasNoInterval) {
  SetLoads(24);
  const StepTime time = Cost(false).Predict(step_.Shape());
  EXPECT_EQ(time.by_label[static_cast<size_t>(Label::kAnalytic)].count(), Sum(time));
  EXPECT_EQ(time.band.half95, 0);
}

TEST_F(ProfiledStep, TheTimeByLabelAddsUpToTheStep) {
  SetLoads(24);
  const StepTime time = Cost(true).Predict(step_.Shape());
  EXPECT_GT(time.by_label[static_cast<size_t>(Label::kInterpolated)].count(), 0);
  EXPECT_GT(time.by_label[static_cast<size_t>(Label::kAnalytic)].count(), 0);
  EXPECT_NEAR(Sum(time), ToSeconds(time.total), 2e-9);
}

TEST_F(ProfiledStep, ExactRowsAreMeasured) {
  SetLoads(16);
  const StepTime time = Cost(true).Predict(step_.Shape());
  ASSERT_GT(time.by_label[static_cast<size_t>(Label::kMeasured)].count(), 0);
  const double layers = static_cast<double>(model_.moe_layer_count());
  const double row = std::max(RowSeconds(16), FloorSeconds(16));
  EXPECT_NEAR(time.by_label[static_cast<size_t>(Label::kMeasured)].count(), layers * row, 1e-9);
}

TEST_F(ProfiledStep, LinesOfTheExplanationAddUpToThePrediction) {
  SetLoads(24);
  StepCost cost = Cost(true);
  const StepTime time = cost.Predict(step_.Shape());
  Seconds experts;
  bool named = false;
  for (const OpLine& line : cost.Explain(step_.Shape())) {
    if (line.part == StepPart::kExperts) experts += line.all;
    named = named || line.note.find("7 rows, nearest tokens 64") != std::string::npos;
  }
  EXPECT_EQ(experts.count(), time.experts.count());
  EXPECT_TRUE(named) << "the rows behind the experts' time are named";
}

TEST_F(ProfiledStep, GapsStandBetweenMeasuredKernelsHoweverTheyAreLaunched) {
  constexpr double kGap = 2e-6;
  SetLoads(24);
  const StepTime without = Cost(true).Predict(step_.Shape());
  efficiencies_.graph_gap = Seconds(kGap);
  StepCost cost = Cost(true);
  const StepTime with = cost.Predict(step_.Shape());
  const auto layers = static_cast<double>(model_.moe_layer_count());  // one kernel each
  EXPECT_NEAR((with.dense - without.dense).count(), layers * kGap, 1e-12);
  EXPECT_EQ(with.experts.count(), without.experts.count());
  Seconds dense;
  for (const OpLine& line : cost.Explain(step_.Shape())) {
    if (line.part == StepPart::kDense) dense += line.all;
  }
  EXPECT_EQ(dense.count(), with.dense.count());

  step_.graph = false;
  EXPECT_EQ(cost.Predict(step_.Shape()).dense.count(), with.dense.count());
}

TEST_F(ProfiledStep, GapsAreLongerInStepsWithPrompts) {
  constexpr double kGap = 2e-6;
  constexpr double kPromptGap = 5e-7;
  SetLoads(24);
  const auto gaps = [&](Efficiencies with) {
    const double without = Cost(true).Predict(step_.Shape()).dense.count();
    std::swap(with, efficiencies_);
    const double time = Cost(true).Predict(step_.Shape()).dense.count() - without;
    std::swap(with, efficiencies_);
    return time;
  };
  Efficiencies longer = efficiencies_;
  longer.graph_gap = Seconds(kGap);
  longer.prompt_gap = Seconds(kPromptGap);
  const auto layers = static_cast<double>(model_.moe_layer_count());  // one kernel each
  EXPECT_NEAR(gaps(longer), layers * kGap, 1e-12);
  test::AddPrefill(step_.groups[0], 8, 0, 8);
  EXPECT_NEAR(gaps(longer), layers * (kGap + kPromptGap), 1e-12);
}

TEST_F(ProfiledStep, IntervalsOfIndependentSourcesJoinAsRootsOfSquares) {
  SetLoads(24);
  const StepTime time = Cost(true).Predict(step_.Shape());
  const double experts = time.by_label[static_cast<size_t>(Label::kInterpolated)].count();
  const double total = ToSeconds(time.total);
  EXPECT_GE(time.band.half95, 0.1 * experts / total);
  EXPECT_LE(time.band.half95, (0.1 * experts + 0.5 * (total - experts)) / total);
  EXPECT_LT(time.band.half80, time.band.half95);
}

TEST_F(ProfiledStep, QuantilesShiftTheTotalToTheEndsOfItsInterval) {
  SetLoads(24);
  StepCost cost = Cost(true);
  const StepTime expected = cost.Predict(step_.Shape());
  cost.set_quantile(StepQuantile::kFast);
  const StepTime fast = cost.Predict(step_.Shape());
  cost.set_quantile(StepQuantile::kSlow);
  const StepTime slow = cost.Predict(step_.Shape());
  const double ratio = std::exp(expected.band.half95);
  EXPECT_NEAR(ToSeconds(slow.total), ToSeconds(expected.total) * ratio, 2e-9);
  EXPECT_NEAR(ToSeconds(fast.total), ToSeconds(expected.total) / ratio, 2e-9);
}

/// INV-6: a profile that is too fast is held at the roofline.
TEST_F(ProfiledStep, Inv6NoProfileBeatsTheRoofline) {
  RngStream rng({.seed = 4}, "profiled", 0);
  Profile hasty = *ExpertProfile(model_);
  KernelFit& fit = hasty.kernels[0].shapes[0].fit;
  fit.fixed = 0;
  fit.per_memory = {1e-30, 0, 0};
  hasty.kernels[0].shapes[0].rows.clear();
  StepCost cost(model_, {}, test::Bf16Kv(model_), test::TinyDevice(), test::TinyFabric(),
                efficiencies_, std::make_shared<const Profile>(hasty));
  for (int i = 0; i < 50; ++i) {
    const double distinct = 1 + 63 * rng.NextUniform();
    SetLoads(distinct);
    const double layers = static_cast<double>(model_.moe_layer_count());
    const double floor = layers * FloorSeconds(distinct);
    EXPECT_GE(cost.Predict(step_.Shape()).experts.count(), floor * (1 - 1e-12));
  }
}

TEST_F(ProfiledStep, AnEmptyRankCostsNothing) {
  step_.experts.assign(static_cast<size_t>(model_.moe_layer_count()), ExpertLoad{});
  const StepTime time = Cost(true).Predict(step_.Shape());
  EXPECT_EQ(time.by_label[static_cast<size_t>(Label::kInterpolated)].count(), 0);
  EXPECT_EQ(time.by_label[static_cast<size_t>(Label::kMeasured)].count(), 0);
}

/// `kernel` at `factor` times its times, measured at `tokens` tokens.
KernelProfile Slower(KernelProfile kernel, double factor, double tokens) {
  ShapeProfile& shape = kernel.shapes[0];
  shape.fit.fixed *= factor;
  for (double& each : shape.fit.per_memory) each *= factor;
  for (ProfileRow& row : shape.rows) {
    row.axes[0] = tokens;
    row.seconds *= factor;
  }
  return kernel;
}

/// An expert kernel well above the roofline, measured at the step's 64 tokens, and a second form
/// that takes `share` of its time, measured at `tokens`.
std::shared_ptr<const Profile> TwoForms(const ModelSpec& model, double share, double tokens) {
  Profile profile = *ExpertProfile(model);
  profile.kernels[0] = Slower(profile.kernels[0], 10, 64);
  profile.kernels.push_back(Slower(profile.kernels[0], share, tokens));
  profile.kernels[1].variant = "prefill";
  return std::make_shared<const Profile>(profile);
}

TEST_F(ProfiledStep, AFormWhoseRowsBeginNearbyTakesOverWhereItIsFasterBeyondBothErrors) {
  constexpr double kNear = 128;
  constexpr double kFar = 64 * 1024;
  SetLoads(24);
  const auto experts = [&](double share, double tokens) {
    StepCost cost(model_, {}, test::Bf16Kv(model_), test::TinyDevice(), test::TinyFabric(),
                  efficiencies_, TwoForms(model_, share, tokens));
    return cost.Predict(step_.Shape()).experts.count();
  };
  const double alone = experts(1, kFar);
  EXPECT_NEAR(experts(0.5, kNear), 0.5 * alone, 0.01 * alone);
  EXPECT_EQ(experts(0.9, kNear), alone);  // + 10 % of it is more than alone - 5 %
  EXPECT_EQ(experts(0.5, kFar), alone);
}

/// Both products of an expert well above the roofline in one launch, and in two on permuted tokens
/// that take `share` of its time together, all measured at the step's 64 tokens.
std::shared_ptr<const Profile> OneLaunchAndTwo(const ModelSpec& model, double share) {
  Profile profile = *ExpertProfile(model);
  profile.kernels[0] = Slower(profile.kernels[0], 10, 64);
  for (const char* op : {"gate_up", "down"}) {
    profile.kernels.push_back(Slower(profile.kernels[0], share / 2, 64));
    profile.kernels.back().op = op;
    profile.kernels.back().variant = "prefill";
    for (ProfileRow& row : profile.kernels.back().shapes[0].rows) {
      const auto& [tokens, assignments, distinct, padded_rows, fullest, unused] = row.axes;
      row.axes = {tokens, assignments, distinct, fullest};  // tiles are counted from these
    }
  }
  return std::make_shared<const Profile>(profile);
}

TEST_F(ProfiledStep, TwoLaunchesOnPermutedTokensAreTakenWhereTheyAreFasterBeyondBothErrors) {
  SetLoads(16);
  const auto experts = [&](double share) {
    StepCost cost(model_, {}, test::Bf16Kv(model_), test::TinyDevice(), test::TinyFabric(),
                  efficiencies_, OneLaunchAndTwo(model_, share));
    return cost.Predict(step_.Shape()).experts.count();
  };
  const double alone = experts(2);
  EXPECT_NEAR(experts(0.5), 0.5 * alone, 0.01 * alone);
  EXPECT_EQ(experts(0.99), alone);  // + 1 % of it is more than alone - 1 %
}

TEST_F(ProfiledStep, OfAShapeWithoutRowsTheFasterFormIsExtrapolated) {
  SetLoads(16);
  const auto experts = [&](double share) {
    Profile profile = *OneLaunchAndTwo(model_, share);
    for (KernelProfile& kernel : profile.kernels) {
      kernel.any_shape = kernel.shapes[0].fit;
      kernel.shapes[0].shape[Feature::kHidden] += 1;
    }
    StepCost cost(model_, {}, test::Bf16Kv(model_), test::TinyDevice(), test::TinyFabric(),
                  efficiencies_, std::make_shared<const Profile>(profile));
    return cost.Predict(step_.Shape()).experts.count();
  };
  const double one = experts(100);
  EXPECT_EQ(experts(1000), one);
  EXPECT_LT(experts(0.1), 0.5 * one);
}

}  // namespace
}  // namespace moecast
