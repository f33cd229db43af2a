// A profile of another engine's kernels, built by a command from the user's copy of public tables,
// prices a run. Skipped where the tables are absent.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "tests/examples/run_moecast.h"

namespace moecast {
namespace {

using test::Outcome;
using test::RunMoecast;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kScenario =
    "name: public\nmodel: gpt-oss-20b\ncluster: {gpu: H200-SXM}\nrouting: uniform\n"
    "workload: {synthetic: {arrivals: {closed_loop: {concurrency: 16}}, input: {fixed: {tokens: "
    "512}}, output: {fixed: {tokens: 64}}}, stop: {requests: 64}}\n"
    "cost: {profile: h200-vllm-0.24.yaml}\n";

class PublicProfile : public testing::Test {
 protected:
  void SetUp() override {
    tables_ = test::SharedData() / "kernels_aic" / "h200_sxm";
    if (test::SharedData().empty() || !std::filesystem::exists(tables_)) {
      GTEST_SKIP() << "no public tables beside the source tree";
    }
    const Outcome made =
        RunMoecast({"calibrate", "--aic", tables_.string(), "--engine", "vllm-0.24.0", "--gpu",
                    "H200-SXM", "--ops", "all_reduce,decode_attention", "--out", profile_});
    ASSERT_EQ(made.exit_code, 0) << made.err;
    EXPECT_THAT(made.out, HasSubstr("kernels of h200_sxm"));
    std::ofstream(scenario_) << kScenario;
  }
  [[nodiscard]] Outcome Run(const std::string& gpu) const {
    return RunMoecast({"run", scenario_, "--set", "cluster.gpu=" + gpu});
  }

  std::filesystem::path tables_;
  test::TemporaryFolder folder_;
  std::string scenario_ = (folder_.path() / "public.yaml").string();
  std::string profile_ = (folder_.path() / "h200-vllm-0.24.yaml").string();
};

TEST_F(PublicProfile, AttentionOfARunComesFromItsRows) {
  const Outcome run = Run("H200-SXM");
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.out, ContainsRegex("[1-9][0-9.]* % interpolated"));
}

TEST_F(PublicProfile, OfAnotherGpuIsRefusedByName) {
  const Outcome run = Run("H100-SXM");
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_THAT(run.err, HasSubstr("cost.profile: was measured on h200_sxm, but cluster.gpu is "
                                 "H100-SXM"));
  EXPECT_THAT(run.out, Not(HasSubstr("throughput")));
}

}  // namespace
}  // namespace moecast
