// Every policy that docs/policies.md lists runs on example 02, by one line of YAML.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "sim/base/files.h"
#include "tests/examples/run_moecast.h"

namespace moecast {
namespace {

using test::Outcome;
using test::RunMoecast;
using test::TemporaryFolder;
using ::testing::HasSubstr;

constexpr const char* kExample = "scenarios/examples/02_replay_captured_routing.yaml";

struct Policy {
  std::string name;  // as docs/policies.md writes it
  std::string set;
};

std::vector<Policy> ExpertPolicies(const std::string& similarity) {
  return {
      {"native", "experts: native"},
      {"uniform_top_k", "experts: {uniform_top_k: {k: 4}}"},
      {"layer_schedule", "experts: {layer_schedule: {tuple: {b: 4, h: 8, e: 4, p: 4}}}"},
      {"ratio_to_best", "experts: {ratio_to_best: {threshold: [0.3]}}"},
      {"top_p", "experts: {top_p: {mass: [0.7]}}"},
      {"aset_derived", "experts: {aset_derived: {threshold: [0.4], penalty: 0.5, min_k: 2}}"},
      {"oea", "experts: {oea: {base_k: 3}}"},
      {"xshare", "experts: {xshare: {budget: 24}}"},
      {"lynx", "experts: {lynx: {mass: 0.8}}"},
      {"sere", "experts: {sere: {primary: 2, similarity: " + similarity + ", least: 0.5}}"},
      {"alloc_tokens", "experts: {alloc_tokens: {mean_k: [4]}}"},
      {"eac_prefill", "experts: {eac_prefill: {threshold: 0.5}}"},
      {"adaptive",
       "experts: {adaptive: {measure: batch, arms: [{below: 4, experts: {uniform_top_k: {k: 4}}}, "
       "{experts: {oea: {base_k: 3}}}]}}"},
      {"pruning", "pruning: {experts: 32, by: soft_count}"},
  };
}

/// A scheme with scales of 128 channels, for the example's heads of 64.
std::string OnShortHeads(const std::string& scheme) {
  return "{from: " + scheme + ", key: {group: 64}, value: {group: 64}}";
}

std::vector<Policy> CachePolicies() {
  const std::string int4 = OnShortHeads("int4");
  std::vector<Policy> policies = {
      {"asymkv", "kv: {asymkv: {key_layers: 4, value_layers: 0}}"},
      {"xquant", "kv: {xquant: {kq: 8, vq: 0, km: 8, vm: 4}}"},
      {"by_layer", "kv: {by_layer: {runs: [{layers: 4, scheme: fp8_e4m3}, {layers: 4, scheme: " +
                       int4 + "}]}}"},
      {"by_age",
       "kv: {by_age: {bands: [{newest_tokens: 128, scheme: fp8_e4m3}], oldest: " + int4 + "}}"},
      {"under_pressure", "kv: {under_pressure: {above: 0.8, who: oldest, pressed: kivi2}}"},
      {"token_budget", "kv: {token_budget: {tokens: 128}}"},
      {"sliding_eviction", "kv: {sliding_eviction: {window_tokens: 256}}"}};
  for (const std::string scheme : {"bf16", "fp8_e4m3", "fp8_e5m2", "nvfp4", "kivi4", "kivi2"}) {
    policies.push_back({scheme, "kv: {scheme: " + scheme + "}"});
  }
  for (const std::string scheme : {"int8", "int4", "saw_int4", "oscar_int2"}) {
    policies.push_back({scheme, "kv: {scheme: " + OnShortHeads(scheme) + "}"});
  }
  return policies;
}

Outcome RunAll(const std::vector<Policy>& policies) {
  std::string variants = "variants=[";
  for (const Policy& policy : policies) {
    variants += "{name: " + policy.name + ", set: {" + policy.set + "}}, ";
  }
  return RunMoecast({"run", kExample, "--set", variants + "]", "--set", "replications=1", "--set",
                     "workload.stop.requests=80", "--set", "workload.warmup_requests=10"});
}

void ExpectAllRan(const std::vector<Policy>& policies) {
  const Outcome outcome = RunAll(policies);
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  for (const Policy& policy : policies) {
    EXPECT_THAT(outcome.out, HasSubstr("\n" + policy.name + " ")) << policy.set;
  }
}

TEST(EveryPolicy, OfExpertsRunsOnExample02) {
  const TemporaryFolder folder;
  std::string similarity = "layer,expert,replacement,similarity\n";
  for (int layer = 0; layer < 8; ++layer) {
    similarity += std::to_string(layer) + ",1,0,0.9\n";
  }
  ASSERT_TRUE(WriteFileAtomically(folder / "similarity.csv", similarity).ok());
  ExpectAllRan(ExpertPolicies((folder / "similarity.csv").string()));
}

TEST(EveryPolicy, OfTheCacheRunsOnExample02) { ExpectAllRan(CachePolicies()); }

TEST(EveryPolicy, IsInTheTableOfPolicies) {
  const std::string page =
      ReadFile(std::filesystem::path(MOECAST_SOURCE_ROOT) / "docs/policies.md").value();
  std::vector<Policy> all = ExpertPolicies("similarity.csv");
  const std::vector<Policy> cache = CachePolicies();
  all.insert(all.end(), cache.begin(), cache.end());
  for (const Policy& policy : all) EXPECT_THAT(page, HasSubstr(policy.name));
}

}  // namespace
}  // namespace moecast
