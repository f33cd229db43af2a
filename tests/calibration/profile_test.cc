#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "calibration/calibrate.h"
#include "calibration/profile_text.h"
#include "scenarios/profile_codec.h"
#include "sim/base/files.h"
#include "sim/base/rng.h"
#include "sim/cost/profile_cost.h"
#include "tests/calibration/synthetic_rows.h"

namespace moecast::calibration {
namespace {

using testing::HasSubstr;

Calibration MadeUp() { return Calibrate(test::LawMeasurements(), "made-up").value(); }

/// The first text replaced in a written profile; what reading it says.
std::string ErrorAfter(const std::string& from, const std::string& to) {
  std::string text = ProfileYaml(MadeUp().profile);
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  text.replace(at, from.size(), to);
  const auto read = ParseProfile(text, "p.yaml");
  return read.ok() ? "" : ToString(read.errors());
}

TEST(ProfileText, ReadsBackAndWritesTheSameBytes) {
  const std::string text = ProfileYaml(MadeUp().profile);
  const auto read = ParseProfile(text, "p.yaml");
  ASSERT_TRUE(read.ok()) << ToString(read.errors());
  EXPECT_EQ(ProfileYaml(*read), text);
}

TEST(ProfileText, EqualRowsGiveEqualBytes) {
  EXPECT_EQ(ProfileYaml(MadeUp().profile), ProfileYaml(MadeUp().profile));
}

TEST(ProfileCodec, MistakesAreToldAtTheirPlace) {
  EXPECT_THAT(ErrorAfter("gpu: h200_sxm\n", ""),
              AllOf(HasSubstr("gpu: is missing"), Not(HasSubstr("--set"))));
  EXPECT_THAT(ErrorAfter("expert_tile_rows: 8", "expert_tile_rows: 9"), HasSubstr("p.yaml:4"));
  EXPECT_THAT(ErrorAfter("us,weight", "us,wait"), HasSubstr("expected the columns"));
  EXPECT_THAT(ErrorAfter("{hidden: 2048", "{width: 2048"), HasSubstr("no part of the shape"));
}

TEST(ProfileCodec, AProfileOfAnotherVersionIsToldOnce) {
  std::string text = ProfileYaml(MadeUp().profile);
  for (size_t at = 0; (at = text.find("us,weight", at)) != std::string::npos;)
    text.replace(at, 2, "seconds");
  const auto read = ParseProfile(text, "p.yaml");
  ASSERT_FALSE(read.ok());
  EXPECT_EQ(read.errors().size(), 1U);
  EXPECT_THAT(ToString(read.errors()), HasSubstr("fitted again with moecast calibrate"));
}

TEST(ProfileCodec, GpusAreTheSameWhateverTheirSpelling) {
  EXPECT_TRUE(SameGpu("h200_sxm", "H200-SXM"));
  EXPECT_FALSE(SameGpu("h200_sxm", "H100-SXM"));
  EXPECT_FALSE(SameGpu("h200", "H200-SXM"));
}

class Priced : public testing::Test {
 protected:
  Priced() {
    device_.hbm_bandwidth = BytesPerSecond(4.8e12);
    device_.peak[0] = FlopsPerSecond(9.9e14);
    curve_ = std::make_unique<KernelCurve>(profile_.kernels.front());
  }
  KernelTime At(double distinct, double load) const {
    const KernelFeatures f = test::GateUpRow(distinct, load, 0).features;
    return curve_->At(f, curve_->FindShape(f), 0);
  }
  Profile profile_ = MadeUp().profile;
  DeviceSpec device_;
  std::unique_ptr<KernelCurve> curve_;
};

TEST_F(Priced, AMeasuredPointIsItsRow) {
  const KernelTime time = At(16, 8);
  EXPECT_EQ(time.label, Label::kMeasured);
  EXPECT_NEAR(time.seconds * 1e6, test::LawUs(16, 128), 1e-3);
}

TEST_F(Priced, BetweenRowsIsInterpolatedAndBeyondThemExtrapolated) {
  EXPECT_EQ(At(24, 8).label, Label::kInterpolated);
  EXPECT_EQ(At(64, 1024).label, Label::kExtrapolated);
  EXPECT_GE(At(64, 1024).band.half95, At(24, 8).band.half95);
}

TEST_F(Priced, AnUnseenShapeIsExtrapolatedWithTheWidestBand) {
  KernelFeatures f = test::GateUpRow(16, 8, 0).features;
  f[Feature::kHidden] = 3000;
  const KernelTime time = curve_->At(f, curve_->FindShape(f), 0);
  EXPECT_EQ(time.label, Label::kExtrapolated);
  EXPECT_GE(time.band.half95, At(64, 1024).band.half95);
}

TEST_F(Priced, NothingIsFasterThanItsFloor) {
  RngStream rng({.seed = 9}, "floor", 0);
  for (int i = 0; i < 200; ++i) {
    const double floor = 1e-3 * rng.NextUniform();
    const KernelFeatures f =
        test::GateUpRow(1 + 127 * rng.NextUniform(), 1 + 300 * rng.NextUniform(), 0).features;
    EXPECT_GE(curve_->At(f, curve_->FindShape(f), floor).seconds, floor);
  }
}

/// The correction is bounded, so no prediction leaves its fit by more than kMostCorrection.
TEST_F(Priced, PredictionsStayWithinTheBoundOfTheirFit) {
  RngStream rng({.seed = 10}, "bound", 0);
  const ShapeProfile& shape = profile_.kernels.front().shapes.front();
  const KernelForm& form = FormOf("gate_up");
  for (int i = 0; i < 200; ++i) {
    const KernelFeatures f =
        test::GateUpRow(1 + 127 * rng.NextUniform(), 1 + 300 * rng.NextUniform(), 0).features;
    const double fit = FitTime(shape.fit, form.work(f, shape.fit.rows_per_pass));
    const double ratio = curve_->At(f, 0, 0).seconds / fit;
    EXPECT_LE(std::abs(std::log(ratio)), kMostCorrection + 1e-9);
  }
}

TEST_F(Priced, MemoisedPredictionsAreTheColdOnes) {
  // Only the gate-up kernel exists, so the pipeline is told to be one fused kernel.
  profile_.kernels.front().op = "experts";
  const auto profile = std::make_shared<const Profile>(profile_);
  const ExpertLayerShape shape{.hidden = 2048,
                               .intermediate = 768,
                               .experts = 128,
                               .top_k = 8,
                               .format = {.name = "bf16", .stored_bits = 16}};
  ProfileCost warm(profile, device_, shape);
  RngStream rng({.seed = 11}, "memo", 0);
  for (int i = 0; i < 2000; ++i) {
    const double distinct = 1 + static_cast<double>(rng.NextBelow(40));
    const ExpertLoad load{.assignments = 2 * distinct,
                          .distinct = distinct,
                          .padded_rows = 8 * distinct,
                          .max_expert = 2};
    ProfileCost cold(profile, device_, shape);
    ASSERT_EQ(warm.ExpertTime(8, load).seconds, cold.ExpertTime(8, load).seconds);
  }
}

TEST_F(Priced, AFormatIsServedByItsOwnNameFirst) {
  KernelProfile other = profile_.kernels.front();
  other.format = "fp8_block";
  profile_.kernels.push_back(other);
  other.format = "fp8";
  profile_.kernels.push_back(other);
  ProfileCost cost(std::make_shared<const Profile>(profile_), device_, std::nullopt);
  const KernelFeatures f = test::GateUpRow(16, 8, 0).features;
  EXPECT_EQ(cost.Choose("gate_up", "fp8", f).candidates.front().kernel, 2U);
  EXPECT_EQ(cost.Choose("gate_up", "fp8-block", f).candidates.front().kernel, 1U);
  EXPECT_TRUE(cost.Choose("gate_up", "int4", f).empty());
}

TEST_F(Priced, LatentsAreWrittenByTheirOwnVariantAndNothingElseIs) {
  KernelProfile write = profile_.kernels.front();
  write.op = "append";
  KernelProfile latent = write;
  latent.variant = "latent";
  profile_.kernels = {write, latent};
  ProfileCost cost(std::make_shared<const Profile>(profile_), device_, std::nullopt);
  const KernelFeatures f = test::GateUpRow(16, 8, 0).features;
  const KernelChoice heads = cost.Choose("append", "bf16", f, false);
  ASSERT_EQ(heads.candidates.size(), 1U);
  EXPECT_EQ(heads.candidates.front().kernel, 0U);
  const KernelChoice latents = cost.Choose("append", "bf16", f, true);
  ASSERT_EQ(latents.candidates.size(), 1U);
  EXPECT_EQ(latents.candidates.front().kernel, 1U);
  profile_.kernels = {write};  // no rows of latents: the others say most
  ProfileCost without(std::make_shared<const Profile>(profile_), device_, std::nullopt);
  EXPECT_EQ(without.Choose("append", "bf16", f, true).candidates.size(), 1U);
}

}  // namespace
}  // namespace moecast::calibration
