// RuleReader: where a rule of `experts` was written, the model it is for, and the checks that rules
// have in common.
#pragma once

#include <google/protobuf/repeated_field.h>

#include <optional>
#include <string>
#include <vector>

#include "scenarios/convert.h"
#include "sim/policy/expert_policy.h"

namespace moecast {

struct RuleReader {
  const ModelSpec& model;  // has experts
  const FieldReporter& report;
  std::string path;  // of the rule, "experts.oea"

  [[nodiscard]] RuleReader Below(const std::string& field) const {
    return {.model = model, .report = report, .path = path + "." + field};
  }
  void Report(const std::string& field, const std::string& what) const {
    report(path + "." + field, what);
  }
  /// Errors that a file named by the field has of its own.
  void Report(const std::string& field, const Errors& errors) const;
  /// A rule may compute fewer experts than the model's top-k, never more.
  void AtMostTopK(int64_t k, const std::string& field) const;
  void AtMostExperts(int64_t count, const std::string& field) const;
  /// One value for all MoE layers or one for each.
  [[nodiscard]] PerMoeLayer PerLayer(const google::protobuf::RepeatedField<double>& in,
                                     const std::string& field) const;
  /// Model layer index of every MoE layer.
  [[nodiscard]] std::vector<int32_t> MoeLayers() const;
};

/// The rule if it is one that acts in the step; nothing for a token-level one.
std::optional<ExpertRule> ConvertStepRule(const pb::Experts& in, const RuleReader& reader);

}  // namespace moecast
