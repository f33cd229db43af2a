// Rows of the KV suites become kernels that price attention and cache writes of a step.
#include "tests/calibration/kv_rows.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>

#include "calibration/calibrate.h"
#include "calibration/profile_text.h"
#include "scenarios/profile_codec.h"
#include "sim/cost/step_cost.h"
#include "tests/sim/cost/cost_builders.h"
#include "tests/sim/model/model_builders.h"

namespace moecast::calibration {
namespace {

using test::KvCase;

Measurements Read(const std::string& rows) {
  Measurements m{.card = {.gpu = "h200_sxm", .hbm_bytes_per_s = 4.8e12, .bf16_flop_per_s = 9.9e14},
                 .engine = "",
                 .rows = {},
                 .refused = {},
                 .files = {{.file = "attend.csv", .sha256 = "0", .rows = 1}},
                 .ceilings = {},
                 .ignored_columns = {}};
  const Status status = ParseSuite(test::kKvHeader + rows, "attend.csv", m);
  EXPECT_TRUE(status.ok()) << ToString(status.errors());
  return m;
}

Calibration Fitted(const std::string& rows) {
  auto done = Calibrate(Read(rows), "kv");
  EXPECT_TRUE(done.ok()) << ToString(done.errors());
  return std::move(done).value();
}

const KernelProfile* Find(const Profile& profile, const std::string& op,
                          const std::string& format) {
  for (const KernelProfile& kernel : profile.kernels) {
    if (kernel.op == op && kernel.format == format) return &kernel;
  }
  return nullptr;
}

TEST(KvRows, NoColumnIsUnknownAndNoFormatKeepsTheMarkOfLatentCaches) {
  const Measurements m =
      Read(test::KvLine({.op = "attend_mla", .format = "mla_fp8", .bits = 8}, 10));
  EXPECT_TRUE(m.ignored_columns.empty());
  EXPECT_EQ(m.rows.front().format, "fp8");
  EXPECT_EQ(m.rows.front().features[Feature::kContext], 1024);
}

TEST(KvRows, AWindowCutsTheTokensReadAndIsAVariant) {
  const Measurements m = Read(test::KvLine({.sequences = 8, .length = 4096, .window = 128}, 10));
  EXPECT_EQ(m.rows.front().variant, "window");
  EXPECT_EQ(m.rows.front().features[Feature::kContext], 8 * 128);
  EXPECT_EQ(m.rows.front().features[Feature::kMaxContext], 128);
}

TEST(KvRows, AChunkReadsItsOwnTokensToo) {
  const Measurements m = Read(
      test::KvLine({.op = "attend_prefill", .sequences = 2, .length = 512, .new_tokens = 100}, 90));
  EXPECT_EQ(m.rows.front().features[Feature::kTokens], 100);
  EXPECT_EQ(m.rows.front().features[Feature::kContext], 2 * 512 + 100);
}

TEST(KvRows, PairsOfAChunkAreThoseThatCausalQueriesSee) {
  const auto pairs = [](double length, double window) {
    const Measurements m = Read(test::KvLine({.op = "attend_prefill",
                                              .sequences = 2,
                                              .length = length,
                                              .new_tokens = 2 * 100,
                                              .window = window},
                                             90));
    return m.rows.front().features[Feature::kPairs];
  };
  const auto counted = [](double past, double window) {  // of two sequences of 100 tokens
    double sum = 0;
    for (int i = 1; i <= 100; ++i) sum += window > 0 ? std::min(past + i, window) : past + i;
    return 2 * sum;
  };
  for (const double past : {0, 30, 100, 512}) {
    for (const double window : {0, 1, 64, 120, 4096}) {
      EXPECT_EQ(pairs(past, window), counted(past, window)) << past << " " << window;
    }
  }
}

TEST(KvRows, PairsOfChunksOfDrawnLengthsAreThoseThatTheRowCounts) {
  KvCase chunks{.op = "attend_prefill", .sequences = 2, .length = 0, .new_tokens = 2 * 100};
  EXPECT_EQ(Read(test::KvLine(chunks, 90)).rows.front().features[Feature::kPairs], 2 * 5050);
  chunks.regime = "lognormal";
  const KernelRow mixed = Read(test::KvLine(chunks, 90)).rows.front();
  // Two operations for each element of a key and of a value, per query head.
  EXPECT_DOUBLE_EQ(mixed.features[Feature::kPairs],
                   mixed.features[Feature::kFlops] /
                       (2 * mixed.features[Feature::kHeads] * 2 * chunks.head_dim));
}

TEST(KvRows, RepeatsThatDifferInAnUnfittedFeatureAreToldNotRefused) {
  KvCase a{.op = "append", .sequences = 64, .length = 1, .new_tokens = 64};
  KvCase b{.op = "append", .sequences = 1, .length = 64, .new_tokens = 64};
  const auto clean = Clean(Read(test::KvLine(a, 10) + test::KvLine(b, 20)));
  ASSERT_TRUE(clean.ok()) << ToString(clean.errors());
  EXPECT_EQ(clean->unexplained.size(), 1U);
  b = a;
  EXPECT_FALSE(Clean(Read(test::KvLine(a, 10) + test::KvLine(b, 20))).ok());
}

/// The law is one the form can hold, so held-out launches are found almost exactly, in every width.
TEST(KvFit, HeldOutLaunchesOfEverySchemeAreFound) {
  const Calibration done = Fitted(
      test::AttendRows({.format = "bf16"}) + test::AttendRows({.format = "fp8_e4m3", .bits = 8}) +
      test::AttendRows({.format = "kivi2", .bits = 2, .group = 32, .residual = 128}));
  ASSERT_EQ(done.report.kernels.size(), 3U);
  for (const KernelReport& kernel : done.report.kernels) {
    EXPECT_GT(kernel.held_out.points, 5) << kernel.format;
    EXPECT_LT(kernel.held_out.median, 0.01) << kernel.format;
    EXPECT_LT(kernel.held_out.p95, 0.05) << kernel.format;
  }
}

/// XQuant and AsymKV run one kernel at other bits in other layers: unmeasured bits lie between.
TEST(KvFit, BitsWithoutRowsComeFromTheFitOverAll) {
  std::string rows;
  for (const double bits : {1.0, 2.0, 8.0}) {
    rows += test::AttendRows({.format = "asymkv", .bits = bits, .group = 32});
  }
  const Calibration done = Fitted(rows);
  const KernelProfile* kernel = Find(done.profile, "attend", "asymkv");
  ASSERT_NE(kernel, nullptr);
  ASSERT_EQ(kernel->shapes.size(), 3U);
  const KernelCurve curve(*kernel);
  const KvCase four{.format = "asymkv", .sequences = 64, .length = 4096, .bits = 4, .group = 32};
  const Measurements asked = Read(test::KvLine(four, 100));
  const KernelFeatures& f = asked.rows.front().features;
  const KernelTime time = curve.At(f, curve.FindShape(f), 0);
  EXPECT_EQ(time.label, Label::kExtrapolated);
  EXPECT_NEAR(time.seconds * 1e6 / test::KvLawUs(four), 1, 0.05);
}

TEST(KvFit, ProfilesOfCacheKernelsReadBack) {
  const std::string text = ProfileYaml(Fitted(test::AttendRows({})).profile);
  const auto read = ParseProfile(text, "p.yaml");
  ASSERT_TRUE(read.ok()) << ToString(read.errors());
  EXPECT_EQ(ProfileYaml(*read), text);
}

class KvStep : public testing::Test {
 protected:
  StepTime Predict(int64_t sequences, int64_t length) {
    DeviceSpec device = test::TinyDevice();  // at rates that the made-up kernels do not beat
    device.hbm_bandwidth = BytesPerSecond(4.8e12);
    device.peak.fill(FlopsPerSecond(9.9e14));
    StepCost cost(model_, {}, test::Bf16Kv(model_), device, test::TinyFabric(), test::Ideal(),
                  std::make_shared<const Profile>(profile_));
    test::Step step;
    for (int64_t i = 0; i < sequences; ++i) test::AddDecode(step.groups[0], length, length);
    step.groups[0].decode_longest = length;
    step.experts.assign(static_cast<size_t>(model_.moe_layer_count()), test::LoadOf(8, 1));
    return cost.Predict(step.Shape());
  }
  ModelSpec model_ = test::Qwen3_235B();
  Profile profile_ = Fitted(test::AttendRows({}) + Appends()).profile;

 private:
  static std::string Appends() {
    std::string rows;
    for (KvCase c{.op = "append", .length = 1}; c.sequences <= 256; c.sequences *= 2) {
      c.new_tokens = c.sequences;
      rows += test::KvLine(c, 2 + 0.01 * c.sequences);
    }
    return rows;
  }
};

TEST_F(KvStep, AttentionAndAppendsOfAMeasuredBatchAreTheirRows) {
  const StepTime time = Predict(64, 1024);
  const double layers = 94;
  const double append = 2 + 0.01 * 64;
  const double attend = test::KvLawUs({.sequences = 64, .length = 1024});
  EXPECT_NEAR(time.by_label[static_cast<size_t>(Label::kMeasured)].count() * 1e6,
              layers * (append + attend), layers * 0.01);
}

TEST_F(KvStep, BetweenMeasuredBatchesAttentionIsInterpolated) {
  const StepTime time = Predict(48, 1500);
  const double attend = 94 * test::KvLawUs({.sequences = 48, .length = 1500});
  const double found = time.by_label[static_cast<size_t>(Label::kInterpolated)].count() * 1e6;
  EXPECT_NEAR(found / (attend + 94 * (2 + 0.01 * 48)), 1, 0.03);
  EXPECT_EQ(time.by_label[static_cast<size_t>(Label::kExtrapolated)].count(), 0);
}

TEST_F(KvStep, LongerContextsThanMeasuredAreExtrapolated) {
  EXPECT_GT(Predict(8, 2000000).by_label[static_cast<size_t>(Label::kExtrapolated)].count(), 0);
}

}  // namespace
}  // namespace moecast::calibration
