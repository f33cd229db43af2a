// Kernels of a profile that are chosen by how values are stored: chunks over a past, cache writes,
// formats named in full or in part.
#include <gtest/gtest.h>

#include <memory>
#include <tuple>

#include "sim/cost/step_cost.h"
#include "tests/sim/cost/cost_builders.h"
#include "tests/sim/model/model_builders.h"

namespace moecast {
namespace {

/// Prefill attention over caches in bf16 and fp8, of constant times.
std::shared_ptr<const Profile> ChunkProfile(double bf16_seconds, double fp8_seconds) {
  Profile profile;
  profile.name = "unit";
  for (const auto& [format, bits, seconds] :
       {std::tuple{"bf16", 16.0, bf16_seconds}, std::tuple{"fp8_e4m3", 8.0, fp8_seconds}}) {
    KernelProfile kernel;
    kernel.op = "attend_prefill";
    kernel.format = format;
    ShapeProfile shape;
    shape.shape[Feature::kHeads] = 4;
    shape.shape[Feature::kKvHeads] = 2;
    shape.shape[Feature::kHeadDim] = 2;
    shape.shape[Feature::kKeyBits] = bits;
    shape.shape[Feature::kValueBits] = bits;
    shape.fit.fixed = seconds;
    shape.rows.push_back({.axes = {1, 1, 1}, .seconds = seconds, .weight = 0});
    kernel.any_shape = shape.fit;
    kernel.shapes.push_back(shape);
    profile.kernels.push_back(kernel);
  }
  return std::make_shared<const Profile>(profile);
}

TEST(ProfiledChunks, CostWhatTheirPastIsStoredInByItsShareOfThePairs) {
  constexpr double kBf16 = 1e-3;
  constexpr double kFp8 = 4e-3;
  const ModelSpec model = test::TinyDenseModel();
  const auto seconds = [&](int64_t past) {
    constexpr int64_t kTokens = 64;
    test::Step step;
    test::AddPrefill(step.groups[0], kTokens, past, past + kTokens);
    StepCost cost(model, {}, PlanUniformKv(model, test::PlainKv(8, "fp8_e4m3")), test::TinyDevice(),
                  test::TinyFabric(), test::Ideal(), ChunkProfile(kBf16, kFp8));
    for (const OpLine& line : cost.Explain(step.Shape())) {
      if (line.name == "attention.prefill") return line.each.count();
    }
    return 0.0;
  };
  EXPECT_NEAR(seconds(0), kBf16, 1e-9) << "nothing of it is stored in fp8";
  EXPECT_NEAR(seconds(16), (kBf16 + kFp8) / 2, 1e-9) << "a third of its pairs";
  EXPECT_NEAR(seconds(64), kFp8, 1e-9) << "two thirds: where measured rows begin";
  EXPECT_NEAR(seconds(6400), kFp8, 1e-9);
}

KernelProfile ConstantKernel(const char* op, const char* format, double seconds) {
  KernelProfile kernel;
  kernel.op = op;
  kernel.format = format;
  kernel.any_shape.fixed = seconds;
  kernel.shapes.push_back({.shape = {},
                           .fit = kernel.any_shape,
                           .rows = {{.axes = {1, 1, 1}, .seconds = seconds, .weight = 0}}});
  return kernel;
}

TEST(ProfiledWrites, DecodesAreAppendedAndChunksPacked) {
  constexpr double kAppend = 1e-3;
  constexpr double kPack = 4e-3;
  Profile profile;
  profile.name = "unit";
  profile.kernels = {ConstantKernel("append", "bf16", kAppend),
                     ConstantKernel("pack", "bf16", kPack)};
  const ModelSpec model = test::TinyDenseModel();
  const auto seconds = [&](bool decode, bool prefill) {
    test::Step step;
    if (decode) test::AddDecode(step.groups[0], 100, 100);
    if (prefill) test::AddPrefill(step.groups[0], 64, 0, 64);
    StepCost cost(model, {}, test::Bf16Kv(model), test::TinyDevice(), test::TinyFabric(),
                  test::Ideal(), std::make_shared<const Profile>(profile));
    return cost.Predict(step.Shape()).cache_writes.count() /
           static_cast<double>(model.layer_count());
  };
  EXPECT_NEAR(seconds(true, false), kAppend, 1e-9);
  EXPECT_NEAR(seconds(false, true), kPack, 1e-9);
  EXPECT_NEAR(seconds(true, true), kAppend + kPack, 1e-9);
}

TEST(ProfiledWrites, LoseMoreBehindOthersWhereTheCacheIsInCodes) {
  constexpr double kGap = 1e-6;
  constexpr double kNarrowGap = 3e-6;
  Profile profile;
  profile.name = "unit";
  profile.kernels = {ConstantKernel("append", "bf16", 1e-3),
                     ConstantKernel("append", "fp8_e4m3", 1e-3)};
  const ModelSpec model = test::TinyDenseModel();
  Efficiencies efficiencies = test::Ideal();
  efficiencies.graph_gap = Seconds(kGap);
  efficiencies.narrow_gap = Seconds(kNarrowGap);
  test::Step step;
  test::AddDecode(step.groups[0], 100, 100);
  const auto gap = [&](const KvPlan& kv) {
    StepCost cost(model, {}, kv, test::TinyDevice(), test::TinyFabric(), efficiencies,
                  std::make_shared<const Profile>(profile));
    Seconds gaps;
    for (const OpLine& line : cost.Explain(step.Shape())) {
      if (line.name == "kernel.gaps" || line.name == "kernel.narrow_gaps") gaps += line.all;
    }
    return gaps.count() / static_cast<double>(model.layer_count());
  };
  EXPECT_NEAR(gap(test::Bf16Kv(model)), kGap, 1e-12);
  EXPECT_NEAR(gap(PlanUniformKv(model, test::PlainKv(8, "fp8_e4m3"))), kGap + kNarrowGap, 1e-12);
}

TEST(ProfiledFormats, AScaleThatIsNotSpokenOfIsOnePerTensor) {
  constexpr double kTensor = 1e-3;
  Profile profile;
  profile.name = "unit";
  profile.kernels = {ConstantKernel("dense", "fp8_block", 2e-3),
                     ConstantKernel("dense", "fp8_tensor", kTensor),
                     ConstantKernel("dense", "int4_g32", 3e-3)};
  const auto shared = std::make_shared<const Profile>(profile);
  ProfileCost cost(shared, test::TinyDevice(), std::nullopt);
  const auto seconds = [&](const char* format) {
    const auto time = cost.Find({.op = "dense", .format = format, .slot = 0}, {}, 0);
    return time ? time->seconds : 0;
  };
  EXPECT_EQ(seconds("fp8"), kTensor);
  EXPECT_EQ(seconds("fp8-tensor"), kTensor);
  EXPECT_EQ(seconds("fp8-block"), 2e-3);
  EXPECT_EQ(seconds("int4"), 3e-3) << "the only one of its width";
  EXPECT_EQ(seconds("int"), 0) << "half a word names nothing";
}

}  // namespace
}  // namespace moecast
