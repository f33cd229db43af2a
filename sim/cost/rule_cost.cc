#include "sim/cost/rule_cost.h"

#include <algorithm>

namespace moecast {

Seconds RuleCosts::Extra(SelectionKind rule, double tokens) const {
  const auto found = std::ranges::find(rules_, rule, &RuleCost::rule);
  if (found == rules_.end()) return {};
  const std::vector<double>& at = found->tokens;
  const std::vector<Seconds>& extra = found->extra;
  if (tokens <= at.front()) return extra.front();
  if (tokens >= at.back()) return extra.back() * (tokens / at.back());
  const auto above = static_cast<size_t>(std::ranges::upper_bound(at, tokens) - at.begin());
  const double share = (tokens - at[above - 1]) / (at[above] - at[above - 1]);
  return extra[above - 1] + (extra[above] - extra[above - 1]) * share;
}

}  // namespace moecast
