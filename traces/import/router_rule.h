// RouterRule: a model's rule from router logits to ranked experts and gate scores, for captures
// that keep the logits only. docs/model/router_rules.md.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "sim/base/result.h"
#include "traces/import/capture_options.h"

namespace moecast {

class RouterRule {
 public:
  /// ERRORS: a rule whose groups do not divide the experts or leave fewer than k to choose from.
  static Result<RouterRule> Make(const CaptureModel& model);

  /// True when ids follow from logits only together with a correction bias per expert.
  [[nodiscard]] bool needs_bias() const { return needs_bias_; }
  /// False when this program does not know the rule's gate scores, only its choice.
  [[nodiscard]] bool has_scores() const { return has_scores_; }

  /// Ranks one row. `bias` has an entry per expert, or is empty. Equal scores: lower expert first.
  /// REQUIRES: sizes E, E or 0, k, k. RETURNS: false when a logit is not a number.
  bool Rank(std::span<const double> logits, std::span<const double> bias, std::span<uint16_t> ids,
            std::span<float> scores);

 private:
  explicit RouterRule(const CaptureModel& model);
  void Scores(std::span<const double> logits);
  void KeepBestGroups();
  void Choose(std::span<uint16_t> ids);
  void GateScores(std::span<const double> logits, std::span<const uint16_t> ids,
                  std::span<float> scores) const;

  CaptureModel model_;
  bool needs_bias_ = false;
  bool has_scores_ = true;
  std::vector<double> gate_;    // [E] scores
  std::vector<double> choice_;  // [E] scores plus bias, -infinity where a group is out
  std::vector<double> group_;   // [groups]
};

}  // namespace moecast
