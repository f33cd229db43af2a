#include "kernels/ops/route/reference.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "sim/base/check.h"

namespace moecast::kernels::reference {
namespace {

constexpr double kNoMargin = std::numeric_limits<double>::infinity();

// What the router says of one token.
struct TokenScores {
  Eigen::ArrayXd score;       // [E] softmax over all, or sigmoid
  Eigen::ArrayXd key;         // [E] by which experts are chosen
  std::vector<bool> allowed;  // [E]
  double margin = kNoMargin;
};

// Experts in the order of their keys, ties to the lower; those that are not allowed are left out.
std::vector<int32_t> Order(const Eigen::ArrayXd& key, const std::vector<bool>& allowed) {
  std::vector<int32_t> order;
  for (int32_t e = 0; e < key.size(); ++e) {
    if (allowed[static_cast<size_t>(e)]) order.push_back(e);
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](int32_t a, int32_t b) { return key[a] > key[b]; });
  return order;
}

// The gap between places `at` - 1 and `at` of an order; infinite where there is no such gap.
double Gap(const Eigen::ArrayXd& key, const std::vector<int32_t>& order, size_t at) {
  if (at == 0 || at >= order.size()) return kNoMargin;
  return key[order[at - 1]] - key[order[at]];
}

void LimitToBestGroups(const ScoreRule& rule, TokenScores& token) {
  const auto size = token.key.size() / rule.groups;
  Eigen::ArrayXd sums(rule.groups);
  for (int32_t g = 0; g < rule.groups; ++g) {
    std::vector<double> keys(token.key.data() + g * size, token.key.data() + (g + 1) * size);
    std::nth_element(keys.begin(), keys.begin() + 1, keys.end(), std::greater<>());
    sums[g] = keys[0] + keys[1];
  }
  const std::vector<int32_t> order =
      Order(sums, std::vector<bool>(static_cast<size_t>(rule.groups), true));
  token.margin = std::min(token.margin, Gap(sums, order, static_cast<size_t>(rule.kept_groups)));
  for (size_t place = static_cast<size_t>(rule.kept_groups); place < order.size(); ++place) {
    const auto begin = token.allowed.begin() + order[place] * size;
    std::fill(begin, begin + size, false);
  }
}

void BalanceGroups(const ScoreRule& rule, int32_t top_k, TokenScores& token) {
  const auto size = static_cast<size_t>(token.key.size()) / static_cast<size_t>(rule.groups);
  const auto kept = static_cast<size_t>(top_k / rule.groups);
  for (size_t first = 0; first < token.allowed.size(); first += size) {
    std::vector<bool> group(token.allowed.size(), false);
    std::fill_n(group.begin() + static_cast<std::ptrdiff_t>(first), size, true);
    const std::vector<int32_t> order = Order(token.key, group);
    token.margin = std::min(token.margin, Gap(token.key, order, kept));
    for (size_t place = kept; place < order.size(); ++place)
      token.allowed[static_cast<size_t>(order[place])] = false;
  }
}

TokenScores ScoresOf(const ExpertShape& shape, const ScoreRule& rule,
                     const std::vector<double>& bias, const Eigen::ArrayXd& logits) {
  TokenScores token{.score = {}, .key = logits, .allowed = {}};
  token.allowed.assign(static_cast<size_t>(logits.size()), true);
  if (rule.score == ScoreKind::kSigmoid) {
    token.score = 1 / (1 + (-logits).exp());
  } else {
    token.score = (logits - logits.maxCoeff()).exp();
    token.score /= token.score.sum();
  }
  if (bias.empty() && rule.grouping == GroupKind::kNone) return token;
  token.key = token.score;
  for (size_t e = 0; e < bias.size(); ++e) token.key[static_cast<Eigen::Index>(e)] += bias[e];
  if (rule.grouping == GroupKind::kLimited) LimitToBestGroups(rule, token);
  if (rule.grouping == GroupKind::kBalanced) BalanceGroups(rule, shape.top_k, token);
  return token;
}

// The batch's set, and the smallest distance of any token's say in it from another one.
struct BatchSet {
  std::vector<bool> allowed;  // [E]
  double margin = kNoMargin;
};

BatchSet AgreeOnSet(const BatchRule& rule, const std::vector<TokenScores>& tokens, size_t experts) {
  BatchSet set{.allowed = std::vector<bool>(experts, rule.kind == BatchKind::kNone)};
  if (rule.kind == BatchKind::kNone) return set;
  const auto count = static_cast<size_t>(rule.kind == BatchKind::kOea ? rule.base_k : 1);
  Eigen::ArrayXd utility = Eigen::ArrayXd::Zero(static_cast<Eigen::Index>(experts));
  for (const TokenScores& token : tokens) {
    const std::vector<int32_t> order = Order(token.key, token.allowed);
    set.margin = std::min({set.margin, token.margin, Gap(token.key, order, count)});
    for (size_t place = 0; place < std::min(count, order.size()); ++place)
      set.allowed[static_cast<size_t>(order[place])] = true;
    utility += token.score;
  }
  if (rule.kind == BatchKind::kOea) return set;
  std::vector<bool> others = set.allowed;
  others.flip();
  const std::vector<int32_t> order = Order(utility, others);
  const auto best = static_cast<size_t>(std::count(set.allowed.begin(), set.allowed.end(), true));
  const size_t budget = static_cast<size_t>(std::max(rule.budget, 0));
  const size_t added = std::min(budget > best ? budget - best : 0, order.size());
  set.margin = std::min(set.margin, Gap(utility, order, added));
  for (size_t place = 0; place < added; ++place)
    set.allowed[static_cast<size_t>(order[place])] = true;
  return set;
}

// Distance of rank j's score from where the rule's decision turns, relative to the best score.
double ThresholdMargin(const SkipRule& rule, double ratio, double mass_before_ratio,
                       double entropy_ratio) {
  if (rule.kind == SkipKind::kRatio) return std::abs(ratio - rule.threshold);
  if (rule.kind == SkipKind::kTopP) return std::abs(mass_before_ratio - rule.threshold);
  if (rule.kind == SkipKind::kAsetDerived)
    return std::abs(ratio - rule.threshold * (1 - rule.penalty * entropy_ratio));
  return kNoMargin;
}

// The ranks of one token that have an expert, best first, at most top_k of them.
struct Ranks {
  std::vector<int32_t> expert;
  std::vector<double> score;

  [[nodiscard]] double mass() const { return std::accumulate(score.begin(), score.end(), 0.0); }
  // Entropy over its largest value, ln top_k.
  [[nodiscard]] double EntropyRatio(int32_t top_k) const {
    double entropy = 0;
    for (const double s : score) entropy -= s > 0 ? s / mass() * std::log(s / mass()) : 0;
    return top_k > 1 ? entropy / std::log(static_cast<double>(top_k)) : 0;
  }
};

Ranks FirstRanks(const TokenScores& token, const std::vector<int32_t>& order, int32_t count) {
  Ranks ranks;
  for (size_t j = 0; j < std::min(static_cast<size_t>(count), order.size()); ++j) {
    ranks.expert.push_back(order[j]);
    ranks.score.push_back(token.score[order[j]]);
  }
  return ranks;
}

// Applies the skip rule to a token's ranks. RETURNS: one flag per rank.
std::vector<bool> Keep(const SkipRule& rule, int32_t top_k, const Ranks& ranks, double& margin) {
  const double mass = ranks.mass();
  const double entropy = ranks.EntropyRatio(top_k);
  double before = 0;
  std::vector<bool> keeps;
  for (size_t j = 0; j < ranks.score.size(); ++j) {
    const double score = ranks.score[j];
    const double best = ranks.score[0];
    keeps.push_back(rule.Keeps(static_cast<int32_t>(j), static_cast<float>(score),
                               static_cast<float>(best), static_cast<float>(before),
                               static_cast<float>(mass), static_cast<float>(entropy)));
    if (j > 0)
      margin = std::min(margin, ThresholdMargin(rule, score / best, before / mass, entropy));
    before += score;
  }
  return keeps;
}

// Chooses for one token and appends its slots.
void SelectForToken(const ExpertShape& shape, const RoutingRule& rule, const TokenScores& token,
                    const BatchSet& set, Selection& selection) {
  std::vector<bool> allowed = token.allowed;
  for (size_t e = 0; e < allowed.size(); ++e) allowed[e] = allowed[e] && set.allowed[e];
  const std::vector<int32_t> order = Order(token.key, allowed);
  const Ranks ranks = FirstRanks(token, order, shape.top_k);
  double margin = std::min(token.margin, set.margin);
  for (size_t at = 1; at <= ranks.expert.size(); ++at)
    margin = std::min(margin, Gap(token.key, order, at));
  const std::vector<bool> keeps = Keep(rule.skip, shape.top_k, ranks, margin);
  double norm = 1;
  if (rule.score.renormalise == Renormalise::kKept) {
    norm = 0;
    for (size_t j = 0; j < keeps.size(); ++j) norm += keeps[j] ? ranks.score[j] : 0;
  } else if (rule.score.renormalise == Renormalise::kMass) {
    const std::vector<int32_t> native = Order(token.key, token.allowed);
    const auto count = static_cast<size_t>(rule.score.mass_k);
    norm = FirstRanks(token, native, rule.score.mass_k).mass();
    margin = std::min(margin, Gap(token.key, native, count));
  }
  for (size_t j = 0; j < static_cast<size_t>(shape.top_k); ++j) {
    const bool kept = j < keeps.size() && keeps[j];
    selection.expert_of_slot.push_back(kept ? ranks.expert[j] : shape.experts);
    selection.weight_of_slot.push_back(kept ? ranks.score[j] / norm * rule.score.scale : 0.0);
  }
  selection.margin_of_token.push_back(margin);
}

}  // namespace

Eigen::MatrixXd GateLogits(const Eigen::MatrixXd& x, const Eigen::MatrixXd& gate) {
  return x * gate.transpose();
}

Selection Select(const ExpertShape& shape, const RoutingRule& rule, const std::vector<double>& bias,
                 const Eigen::MatrixXd& logits) {
  SIM_CHECK(logits.rows() == shape.tokens && logits.cols() == shape.experts);
  SIM_CHECK(shape.top_k >= 1 && shape.top_k <= shape.experts);
  SIM_CHECK(bias.empty() || bias.size() == static_cast<size_t>(shape.experts));
  std::vector<TokenScores> tokens;
  for (int32_t t = 0; t < shape.tokens; ++t)
    tokens.push_back(ScoresOf(shape, rule.score, bias, logits.row(t).transpose().array()));
  const BatchSet set = AgreeOnSet(rule.batch, tokens, static_cast<size_t>(shape.experts));
  Selection selection;
  for (const TokenScores& token : tokens) SelectForToken(shape, rule, token, set, selection);
  return selection;
}

Alignment Align(const ExpertShape& shape, const std::vector<int32_t>& expert_of_slot) {
  Alignment alignment;
  alignment.position_of_slot.assign(expert_of_slot.size(), -1);
  alignment.offsets.push_back(0);
  for (int32_t expert = 0; expert < shape.experts; ++expert) {
    for (size_t slot = 0; slot < expert_of_slot.size(); ++slot) {
      if (expert_of_slot[slot] != expert) continue;
      alignment.position_of_slot[slot] = static_cast<int32_t>(alignment.slot_token.size());
      alignment.slot_token.push_back(static_cast<int32_t>(slot) / shape.top_k);
    }
    const auto rows = static_cast<int32_t>(alignment.slot_token.size());
    if (rows == alignment.offsets.back()) continue;
    alignment.active_experts.push_back(expert);
    alignment.offsets.push_back(rows);
  }
  return alignment;
}

Eigen::MatrixXd Combine(const ExpertShape& shape, const std::vector<int32_t>& position_of_slot,
                        const std::vector<double>& weight_of_slot, const Eigen::MatrixXd& y) {
  Eigen::MatrixXd out = Eigen::MatrixXd::Zero(shape.tokens, shape.hidden);
  for (size_t slot = 0; slot < position_of_slot.size(); ++slot) {
    if (position_of_slot[slot] < 0) continue;
    out.row(static_cast<int32_t>(slot) / shape.top_k) +=
        weight_of_slot[slot] * y.row(position_of_slot[slot]);
  }
  return out;
}

}  // namespace moecast::kernels::reference
