// RoutingRules: the rows that each rule of a policy replays, and who chooses among rules.
#pragma once

#include <memory>
#include <variant>
#include <vector>

#include "sim/policy/expert_policy.h"
#include "sim/replay/ranked_table.h"
#include "sim/replay/replay_table.h"

namespace moecast {

/// One rule with its rows. A token-level rule is already in its table; a batch-level one has the
/// native top-k's table and ranked rows; EacPrefill has the native table.
struct RuleRows {
  ExpertRule rule;
  std::shared_ptr<const ReplayTable> table;   // never null
  std::shared_ptr<const RankedTable> ranked;  // null unless the rule is a BatchRule
};

struct RoutingRules {
  std::vector<RuleRows> rules;  // of one trace
  LoadSwitch choose;
};

}  // namespace moecast
