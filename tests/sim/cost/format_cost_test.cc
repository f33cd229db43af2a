// Formats and partial reads in time: what a device lacks is read as stored and multiplied by
// another unit, and a layer of two formats costs the sum over its experts.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "sim/base/rng.h"
#include "sim/cost/step_cost.h"
#include "tests/sim/cost/cost_builders.h"

namespace moecast {
namespace {

TensorFormat W4A4() {
  return {.name = "w4a4",
          .stored_bits = 4,
          .compute = ComputeClass::kInt4,
          .otherwise = ComputeClass::kInt8,
          .input_bits = 4};
}

/// 1 Tflop/s in bf16, 2 in int8, 4 in int4 unless absent.
DeviceSpec Device(bool int4) {
  DeviceSpec device = test::TinyDevice();
  device.peak[static_cast<size_t>(ComputeClass::kInt8)] = FlopsPerSecond(2e12);
  device.peak[static_cast<size_t>(ComputeClass::kInt4)] = FlopsPerSecond(int4 ? 4e12 : 0);
  return device;
}

TEST(FormatCost, AMissingUnitIsReplacedByTheOneTheFormatNames) {
  const TensorFormat format = W4A4();
  const OpFeatures f = Features(Gemm{.rows = 8, .n = 4, .k = 2, .format = &format});
  const Roofline native(Device(true), test::Ideal());
  const Roofline lacking(Device(false), test::Ideal());
  EXPECT_EQ(native.UnitOf(f), ComputeClass::kInt4);
  EXPECT_EQ(lacking.UnitOf(f), ComputeClass::kInt8);
  const double ratio = lacking.BoundsOf(OpClass::kGemm, f).compute.count() /
                       native.BoundsOf(OpClass::kGemm, f).compute.count();
  EXPECT_DOUBLE_EQ(ratio, 2);
  EXPECT_EQ(lacking.BoundsOf(OpClass::kGemm, f).memory, native.BoundsOf(OpClass::kGemm, f).memory);
}

TEST(FormatCost, AUnitMissingTwiceFallsBackToBf16) {
  DeviceSpec device = Device(false);
  device.peak[static_cast<size_t>(ComputeClass::kInt8)] = FlopsPerSecond(0);
  const TensorFormat format = W4A4();
  const OpFeatures f = Features(Gemm{.rows = 8, .n = 4, .k = 2, .format = &format});
  EXPECT_EQ(Roofline(device, test::Ideal()).UnitOf(f), ComputeClass::kBf16);
}

TEST(FormatCost, DequantisationTakesItsShareOfTheRateOnlyWhereItHappens) {
  TensorFormat format = W4A4();
  const Roofline native(Device(true), test::Ideal());
  const Roofline lacking(Device(false), test::Ideal());
  const auto compute = [&format](const Roofline& roofline) {
    return roofline
        .BoundsOf(OpClass::kGemm, Features(Gemm{.rows = 8, .n = 4, .k = 2, .format = &format}))
        .compute.count();
  };
  const double native_whole = compute(native);
  const double lacking_whole = compute(lacking);
  format.expanded_rate = 0.5;
  EXPECT_EQ(compute(native), native_whole);
  EXPECT_EQ(compute(lacking), 2 * lacking_whole);
  format.expanded = true;
  EXPECT_EQ(compute(native), 2 * native_whole);
}

TEST(FormatCost, QuantisedInputsAreReadInTheirOwnBits) {
  const TensorFormat format = W4A4();
  const OpFeatures f =
      Features(Gemm{.rows = 6, .n = 10, .k = 20, .format = &format, .activation_bytes = 2});
  EXPECT_EQ(f.bytes.count(), 10 * 20 * 0.5 + 6 * 20 * 0.5 + 6 * 10 * 2);
}

TEST(FormatCost, InputsLeftOutAreReadByTheUnionOfTheBatch) {
  const TensorFormat bf16 = test::Bf16();
  Gemm gemm{.rows = 1, .n = 10, .k = 20, .format = &bf16, .read = {.always = 0, .chance = 0.25}};
  EXPECT_EQ(Features(gemm).bytes.count(), 10 * 20 * 2 * 0.25);
  gemm.rows = 4;
  EXPECT_DOUBLE_EQ(Features(gemm).bytes.count(), 10 * 20 * 2 * (1 - 0.75 * 0.75 * 0.75 * 0.75));
  EXPECT_EQ(Features(gemm).flops.count(), 4 * 2 * 10 * 20 * 0.25);
}

/// Rows of each expert of one layer; experts 0 and 3 are stored in the mix's format.
struct Histogram {
  std::vector<int64_t> rows;
  [[nodiscard]] static bool Mixed(size_t expert) { return expert == 0 || expert == 3; }
  [[nodiscard]] ExpertLoad Load() const {
    ExpertLoad load;
    for (size_t e = 0; e < rows.size(); ++e) {
      const auto n = static_cast<double>(rows[e]);
      load.assignments += n;
      load.padded_rows += n;
      load.distinct += n > 0 ? 1 : 0;
      load.max_expert = std::max(load.max_expert, n);
      if (Mixed(e)) {
        load.mixed_distinct += n > 0 ? 1 : 0;
        load.mixed_padded_rows += n;
      }
    }
    return load;
  }
};

TEST(FormatCost, ALayerOfTwoFormatsIsTheSumOverItsExperts) {
  RngStream rng(Seed{.seed = 7}, "test/mix", 0);
  const TensorFormat most = W4A4();
  const TensorFormat mixed = test::Bf16();
  const ExpertGemm op{.tokens_replicated = true,
                      .hidden = 8,
                      .intermediate = 4,
                      .format = &most,
                      .activation_bytes = 2,
                      .mixed_format = &mixed};
  for (int trial = 0; trial < 100; ++trial) {
    Histogram histogram;
    for (int e = 0; e < 6; ++e) {
      histogram.rows.push_back(static_cast<int64_t>(rng.NextBelow(5)));
    }
    double bytes = 0;
    double int4_flops = 0;
    double bf16_flops = 0;
    for (size_t e = 0; e < histogram.rows.size(); ++e) {
      const auto n = static_cast<double>(histogram.rows[e]);
      const bool is_mixed = Histogram::Mixed(e);
      bytes += (n > 0 ? 3 * 8 * 4 * (is_mixed ? 2 : 0.5) : 0) + n * 8 * 0.5;
      (is_mixed ? bf16_flops : int4_flops) += n * 2 * 3 * 8 * 4;
    }
    const ExpertFeatures f = Features(op, histogram.Load(), 0);
    EXPECT_DOUBLE_EQ((f.most.bytes + f.mixed.bytes).count(), bytes);
    EXPECT_DOUBLE_EQ(f.most.flops.count(), int4_flops);
    EXPECT_DOUBLE_EQ(f.mixed.flops.count(), bf16_flops);
  }
}

TEST(FormatCost, AMixLiesBetweenItsFormatsInTime) {
  test::Step step;
  for (int i = 0; i < 16; ++i) test::AddDecode(step.groups[0], 100, 100);
  ModelSpec model = test::TinyMoeModel(8, 2);
  step.experts = {{.assignments = 32,
                   .distinct = 8,
                   .padded_rows = 32,
                   .max_expert = 4,
                   .mixed_distinct = 3,
                   .mixed_padded_rows = 12}};
  const auto experts = [&step, &model] {
    StepCost cost(model, {}, test::Bf16Kv(model), Device(true), {}, test::Ideal());
    return cost.Predict(step.Shape()).experts.count();
  };
  const double wide = experts();
  model.formats.mix = ExpertMix{.format = W4A4(), .experts = {0, 1, 2}};
  const double mixed = experts();
  model.formats.mix.reset();
  model.formats.experts = W4A4();
  model.formats.experts.input_bits = 0;
  EXPECT_LT(mixed, wide);
  EXPECT_LT(experts(), mixed);
}

TEST(FormatCost, ExplainSaysWhatIsNotNative) {
  ModelSpec model = test::TinyDenseModel();
  model.formats.dense_ffn = W4A4();
  StepCost cost(model, {}, test::Bf16Kv(model), Device(false), {}, test::Ideal());
  test::Step step;
  test::AddDecode(step.groups[0], 10, 10);
  std::string notes;
  for (const OpLine& line : cost.Explain(step.Shape())) {
    if (line.name == "gemm.dense_down") notes = line.note;
  }
  EXPECT_EQ(notes, "w4a4 is not multiplied natively here: dequantised to int8");
}

TEST(FormatCost, ExtraOperationsAreLinesOfTheirOwn) {
  ModelSpec model = test::TinyDenseModel();
  model.cuts = 3;
  model.extras.push_back({.name = "extra.patch",
                          .place = ExtraPlace::kCut,
                          .product = true,
                          .weights = 64,
                          .format = test::Bf16(),
                          .bytes_per_row = 32,
                          .flops_per_row = 128});
  StepCost cost(model, {}, test::Bf16Kv(model), Device(true), {}, test::Ideal());
  test::Step step;
  test::AddDecode(step.groups[0], 10, 10);
  test::AddDecode(step.groups[0], 10, 10);
  for (const OpLine& line : cost.Explain(step.Shape())) {
    if (line.name != "extra.patch") continue;
    EXPECT_EQ(line.count, 3);
    EXPECT_EQ(line.bytes.count(), 64 * 2 + 2 * 32);
    EXPECT_EQ(line.flops.count(), 2 * 128);
    return;
  }
  FAIL() << "no line for the extra operation";
}

}  // namespace
}  // namespace moecast
