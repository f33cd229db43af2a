// RuleCosts: what a rule of expert selection adds to one layer's routing, by tokens. From measured
// rows of the routing kernel (scripts/rule_costs.py) or stated assumptions, in the catalog's
// efficiencies. docs/model/expert_rules.md, "What a rule costs".
#pragma once

#include <utility>
#include <vector>

#include "sim/base/units.h"
#include "sim/model/selection_kind.h"

namespace moecast {

/// One rule: extra time at ascending numbers of tokens, linear between them, constant before the
/// first and per token beyond the last.
struct RuleCost {
  SelectionKind rule = SelectionKind::kNative;
  std::vector<double> tokens;  // > 0, ascending, at least one
  std::vector<Seconds> extra;  // as many
};

class RuleCosts {
 public:
  RuleCosts() = default;
  explicit RuleCosts(std::vector<RuleCost> rules) : rules_(std::move(rules)) {}
  /// What the rule adds to one layer. 0 for a rule that is not listed.
  [[nodiscard]] Seconds Extra(SelectionKind rule, double tokens) const;
  [[nodiscard]] const std::vector<RuleCost>& all() const { return rules_; }

 private:
  std::vector<RuleCost> rules_;
};

}  // namespace moecast
