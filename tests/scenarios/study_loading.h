// Loading studies from text in tests.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "scenarios/scenario_codec.h"
#include "sim/base/result.h"

namespace moecast::test {

inline const std::filesystem::path kCatalog =
    std::filesystem::path(MOECAST_SOURCE) / "scenarios" / "catalog";
inline const std::filesystem::path kExamples =
    std::filesystem::path(MOECAST_SOURCE) / "scenarios" / "examples";

/// The smallest scenario: line 1 is `name`.
inline constexpr const char* kMinimal = R"(name: small
model: DeepSeek-V2-Lite
cluster:
  gpu: H200-SXM
workload:
  synthetic:
    arrivals: {poisson: {rate_per_s: 2}}
    input: {fixed: {tokens: 100}}
    output: {fixed: {tokens: 10}}
  stop: {requests: 50}
)";

inline Result<Study> Parse(const std::string& text,
                           const std::vector<std::string>& overrides = {}) {
  return ParseStudy(text, "s.yaml", overrides, kCatalog);
}

/// "where: message" of every error; empty when the text loads.
inline std::vector<std::string> ErrorsOf(const std::string& text,
                                         const std::vector<std::string>& overrides = {}) {
  const Result<Study> study = Parse(text, overrides);
  std::vector<std::string> lines;
  if (study.ok()) return lines;
  for (const Error& error : study.errors()) lines.push_back(error.where + ": " + error.message);
  return lines;
}

/// The scenario of a text with one case.
inline Scenario OnlyScenario(const std::string& text,
                             const std::vector<std::string>& overrides = {}) {
  Result<Study> study = Parse(text, overrides);
  if (!study.ok()) {
    ADD_FAILURE() << ToString(study.errors());
    return {};
  }
  EXPECT_EQ(study->cases.size(), 1u);
  return study->cases.front().scenario;
}

}  // namespace moecast::test
