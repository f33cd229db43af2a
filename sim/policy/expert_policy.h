// ExpertPolicy: which experts a run computes. One rule, or several among which the load of each
// step chooses. A token-level rule (expert_selection.h) is applied when routing is loaded; a
// batch-level one (experts/batch_rule.h) and EacPrefill in the step, on the tokens it really has.
// docs/policies.md, docs/model/expert_rules.md.
#pragma once

#include <concepts>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "sim/model/selection_kind.h"
#include "sim/policy/expert_selection.h"
#include "sim/policy/experts/batch_rule.h"
#include "sim/policy/experts/eac_prefill.h"
#include "sim/policy/step_load.h"

namespace moecast {

using ExpertRule = std::variant<ExpertSelection, BatchRule, EacPrefill>;

/// What the load of a step is judged by.
enum class LoadMeasure {
  kBatch,     // tokens of the step
  kQueue,     // requests waiting
  kSloSlack,  // 1 - last step / bound on the time per output token; negative: too slow
};

/// The rule of a step, by its load: the first i with measure < below[i], else the last.
struct LoadSwitch {
  LoadMeasure measure = LoadMeasure::kBatch;
  std::vector<double> below = {};  // ascending, one fewer than rules
  Seconds tpot_bound{};            // kSloSlack: > 0
  [[nodiscard]] size_t Choose(const StepLoad& load) const;
  friend bool operator==(const LoadSwitch&, const LoadSwitch&) = default;
};

struct ExpertPolicy {
  std::vector<ExpertRule> rules;  // at least one
  LoadSwitch choose;
  /// Weights of kept experts are divided by the sum of the row's best so many scores; 0: as the
  /// model does. Changes what is computed, not how long it takes: part of a quality's key. [Yang26]
  int64_t mass_ranks = 0;

  ExpertPolicy() : rules{ExpertSelection{NativeTopK{}}} {}
  explicit ExpertPolicy(std::vector<ExpertRule> all) : rules(std::move(all)) {}
  template <class Rule>
  requires(!std::same_as<Rule, ExpertPolicy> && std::constructible_from<ExpertSelection, Rule>)
      ExpertPolicy(Rule rule)  // NOLINT(google-explicit-constructor): a rule is a policy
      : rules{ExpertSelection{std::move(rule)}} {}

  /// The token-level rule that is the whole policy, or null.
  [[nodiscard]] const ExpertSelection* token_rule() const;
  [[nodiscard]] bool IsNative() const;
  friend bool operator==(const ExpertPolicy&, const ExpertPolicy&) = default;
};

/// Whether the rule reads gate scores.
bool NeedsScores(const ExpertRule& rule);
bool NeedsScores(const ExpertPolicy& policy);
/// Whether the rule is evaluated in the step, so that only replayed routing can drive it.
bool IsStepLevel(const ExpertRule& rule);
bool IsStepLevel(const ExpertPolicy& policy);
/// Ranks that a row of the routing must have; the native top-k for most rules.
int64_t RanksWanted(const ExpertRule& rule, int64_t top_k);

SelectionKind KindOf(const ExpertRule& rule);

}  // namespace moecast
