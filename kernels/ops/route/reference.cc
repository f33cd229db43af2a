#include "kernels/ops/route/reference.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "sim/base/check.h"

namespace moecast::kernels::reference {
namespace {

// The token's gate distribution and its experts, best first.
struct Ranked {
  std::vector<int32_t> expert;  // [k]
  std::vector<double> score;    // [k] softmax over all experts
  double entropy_ratio = 0;
  double closest_logits = 0;  // smallest gap between neighbours, down to rank k against rank k + 1
};

Ranked Rank(const Eigen::VectorXd& logits, int32_t top_k) {
  const auto experts = static_cast<int32_t>(logits.size());
  const Eigen::ArrayXd shifted = logits.array() - logits.maxCoeff();
  const Eigen::ArrayXd p = shifted.exp() / shifted.exp().sum();
  std::vector<int32_t> order(static_cast<size_t>(experts));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int32_t a, int32_t b) { return logits[a] > logits[b]; });
  Ranked ranked{.expert = {order.begin(), order.begin() + top_k},
                .score = {},
                .entropy_ratio = 0,
                .closest_logits = std::numeric_limits<double>::infinity()};
  for (int32_t j = 0; j < top_k; ++j) {
    const int32_t expert = order[static_cast<size_t>(j)];
    ranked.score.push_back(p[expert]);
    if (j + 1 < experts)
      ranked.closest_logits = std::min(ranked.closest_logits,
                                       logits[expert] - logits[order[static_cast<size_t>(j) + 1]]);
  }
  const double entropy = -(p > 0).select(p * p.max(1e-300).log(), 0.0).sum();
  ranked.entropy_ratio = entropy / std::log(static_cast<double>(experts));
  return ranked;
}

// Distance of rank j's score from where the rule's decision turns, relative to the best score.
double ThresholdMargin(const SkipRule& rule, const Ranked& ranked, double before, double mass,
                       size_t j) {
  const double best = ranked.score[0];
  if (rule.kind == SkipKind::kRatio) return std::abs(ranked.score[j] / best - rule.threshold);
  if (rule.kind == SkipKind::kTopP) return std::abs(before / mass - rule.threshold);
  if (rule.kind == SkipKind::kAsetDerived)
    return std::abs(ranked.score[j] / best -
                    rule.threshold * std::exp(-rule.penalty * ranked.entropy_ratio));
  return std::numeric_limits<double>::infinity();
}

double Norm(Renormalise renormalise, double kept, double native) {
  switch (renormalise) {
    case Renormalise::kNone:
      return 1;
    case Renormalise::kKept:
      return kept;
    case Renormalise::kNative:
      return native;
  }
  return 1;
}

}  // namespace

Eigen::MatrixXd GateLogits(const Eigen::MatrixXd& x, const Eigen::MatrixXd& gate) {
  return x * gate.transpose();
}

Selection Select(const ExpertShape& shape, const SkipRule& rule, Renormalise renormalise,
                 const Eigen::MatrixXd& logits) {
  SIM_CHECK(logits.rows() == shape.tokens && logits.cols() == shape.experts);
  SIM_CHECK(shape.top_k >= 1 && shape.top_k <= shape.experts);
  Selection selection;
  for (int32_t t = 0; t < shape.tokens; ++t) {
    const Ranked ranked = Rank(logits.row(t).transpose(), shape.top_k);
    const double native = std::accumulate(ranked.score.begin(), ranked.score.end(), 0.0);
    double margin = ranked.closest_logits;
    double before = 0;
    double kept = 0;
    std::vector<bool> keeps;
    for (size_t j = 0; j < ranked.score.size(); ++j) {
      keeps.push_back(rule.Keeps(static_cast<int32_t>(j), static_cast<float>(ranked.score[j]),
                                 static_cast<float>(ranked.score[0]), static_cast<float>(before),
                                 static_cast<float>(native),
                                 static_cast<float>(ranked.entropy_ratio)));
      if (j > 0) margin = std::min(margin, ThresholdMargin(rule, ranked, before, native, j));
      if (keeps.back()) kept += ranked.score[j];
      before += ranked.score[j];
    }
    const double norm = Norm(renormalise, kept, native);
    for (size_t j = 0; j < keeps.size(); ++j) {
      selection.expert_of_slot.push_back(keeps[j] ? ranked.expert[j] : shape.experts);
      selection.weight_of_slot.push_back(keeps[j] ? ranked.score[j] / norm : 0.0);
    }
    selection.margin_of_token.push_back(margin);
  }
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
