#include "kernels/ops/sample/reference.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "sim/base/check.h"

namespace moecast::kernels::reference {
namespace {

// Tokens that may be taken, largest logit first, equal ones by number.
std::vector<int32_t> Order(std::span<const double> logits) {
  std::vector<int32_t> order;
  for (size_t i = 0; i < logits.size(); ++i) {
    if (std::isfinite(logits[i])) order.push_back(static_cast<int32_t>(i));
  }
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    return logits[static_cast<size_t>(a)] > logits[static_cast<size_t>(b)];
  });
  return order;
}

}  // namespace

Sampled Sample(std::span<const double> logits, const SampleRule& rule) {
  const std::vector<int32_t> order = Order(logits);
  SIM_CHECK(!order.empty());
  if (rule.temperature == 0)
    return {.token = order[0], .margin = std::numeric_limits<double>::infinity()};
  const auto logit = [&](size_t place) { return logits[static_cast<size_t>(order[place])]; };
  // The end of the run of values equal to that at place - 1.
  const auto with_equals = [&](size_t place) {
    while (place < order.size() && logit(place) == logit(place - 1)) ++place;
    return place;
  };
  size_t kept = order.size();
  if (rule.top_k > 0) kept = with_equals(std::min(kept, static_cast<size_t>(rule.top_k)));
  std::vector<double> sum{0};  // over the places before
  for (size_t place = 0; place < kept; ++place)
    sum.push_back(sum.back() + std::exp((logit(place) - logit(0)) / rule.temperature));
  Sampled sampled{.token = 0, .margin = std::numeric_limits<double>::infinity()};
  if (rule.top_p < 1) {
    const double target = rule.top_p * sum[kept];
    size_t cut = 1;
    while (sum[cut] < target) ++cut;
    cut = with_equals(cut);
    sampled.margin = std::abs(sum[cut] - target) / sum[kept];
    size_t before = cut - 1;
    while (before > 0 && logit(before) == logit(before - 1)) --before;
    sampled.margin = std::min(sampled.margin, std::abs(target - sum[before]) / sum[kept]);
    kept = std::min(kept, cut);
  }
  const double target = rule.uniform * sum[kept];
  size_t place = 0;
  while (place + 1 < kept && sum[place + 1] <= target) ++place;
  sampled.token = order[place];
  if (place > 0) sampled.margin = std::min(sampled.margin, (target - sum[place]) / sum[kept]);
  if (place + 1 < kept)
    sampled.margin = std::min(sampled.margin, (sum[place + 1] - target) / sum[kept]);
  return sampled;
}

}  // namespace moecast::kernels::reference
