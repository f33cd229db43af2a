#include "traces/import/router_rule.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "sim/base/check.h"

namespace moecast {
namespace {

constexpr double kOut = -std::numeric_limits<double>::infinity();

double Sigmoid(double logit) { return 1 / (1 + std::exp(-logit)); }

}  // namespace

RouterRule::RouterRule(const CaptureModel& model)
    : model_(model),
      needs_bias_(model.scoring == GateScoring::kSigmoidBias),
      has_scores_(model.scoring != GateScoring::kSparsemixer),
      gate_(static_cast<size_t>(model.experts)),
      choice_(static_cast<size_t>(model.experts)),
      group_(static_cast<size_t>(model.groups)) {}

Result<RouterRule> RouterRule::Make(const CaptureModel& model) {
  if (model.experts < 1 || model.top_k < 1) {
    return Error{"router logits need the model's rule; name the model", ""};
  }
  const bool divides = model.groups >= 1 && model.experts % model.groups == 0;
  const bool enough = divides && model.top_groups >= 1 && model.top_groups <= model.groups &&
                      model.experts / model.groups * model.top_groups >= model.top_k;
  const bool per_group = model.scoring == GateScoring::kGroupSoftmax;
  if (!enough || (per_group && model.top_k != model.groups)) {
    return Error{"the model's " + std::to_string(model.groups) + " groups of " +
                     std::to_string(model.experts) + " experts, " +
                     std::to_string(model.top_groups) + " of them open, do not give its top-" +
                     std::to_string(model.top_k),
                 ""};
  }
  return RouterRule(model);
}

bool RouterRule::Rank(std::span<const double> logits, std::span<const double> bias,
                      std::span<uint16_t> ids, std::span<float> scores) {
  SIM_CHECK(logits.size() == gate_.size() && (bias.empty() || bias.size() == gate_.size()));
  if (!std::ranges::all_of(logits, [](double logit) { return std::isfinite(logit); })) return false;
  Scores(logits);
  choice_ = gate_;
  for (size_t i = 0; i < bias.size(); ++i) choice_[i] += bias[i];
  const bool limited = model_.top_groups < model_.groups;
  if (limited && model_.scoring != GateScoring::kGroupSoftmax) KeepBestGroups();
  Choose(ids);
  if (!scores.empty()) GateScores(logits, ids, scores);
  return true;
}

/// Scores that order experts as the rule does; softmax relative to the largest logit.
void RouterRule::Scores(std::span<const double> logits) {
  const bool sigmoid =
      model_.scoring == GateScoring::kSigmoid || model_.scoring == GateScoring::kSigmoidBias;
  if (sigmoid) {
    std::ranges::transform(logits, gate_.begin(), Sigmoid);
    return;
  }
  const double largest = *std::ranges::max_element(logits);
  double sum = 0;
  for (size_t i = 0; i < logits.size(); ++i) sum += gate_[i] = std::exp(logits[i] - largest);
  for (double& gate : gate_) gate /= sum;
}

/// Closes all but the best groups. A group's score is its best expert's with softmax, the sum of
/// its best two with sigmoid. [DeepSeekV2] [DeepSeekV3]
void RouterRule::KeepBestGroups() {
  const auto size = gate_.size() / group_.size();
  const bool best_two = model_.scoring != GateScoring::kSoftmax && size > 1;
  for (size_t g = 0; g < group_.size(); ++g) {
    double first = kOut;
    double second = kOut;
    for (size_t i = g * size; i < (g + 1) * size; ++i) {
      second = std::max(second, std::min(first, choice_[i]));
      first = std::max(first, choice_[i]);
    }
    group_[g] = best_two ? first + second : first;
  }
  for (int64_t closed = model_.groups - model_.top_groups; closed > 0; --closed) {
    // The worst of the open groups; of equal ones the last.
    size_t worst = 0;
    while (std::isnan(group_[worst])) ++worst;
    for (size_t g = worst; g < group_.size(); ++g) {
      if (group_[g] <= group_[worst]) worst = g;
    }
    group_[worst] = std::numeric_limits<double>::quiet_NaN();
    const auto begin = choice_.begin() + static_cast<std::ptrdiff_t>(worst * size);
    std::fill_n(begin, size, kOut);
  }
}

void RouterRule::Choose(std::span<uint16_t> ids) {
  if (model_.scoring == GateScoring::kGroupSoftmax) {
    const auto size = static_cast<std::ptrdiff_t>(gate_.size() / group_.size());
    for (size_t g = 0; g < ids.size(); ++g) {
      const auto begin = choice_.begin() + static_cast<std::ptrdiff_t>(g) * size;
      ids[g] = static_cast<uint16_t>(std::max_element(begin, begin + size) - choice_.begin());
    }
    std::ranges::sort(ids, [&](uint16_t a, uint16_t b) {
      return choice_[a] != choice_[b] ? choice_[a] > choice_[b] : a < b;
    });
    return;
  }
  // The best k so far, best first; most experts fail the first comparison.
  size_t kept = 0;
  for (size_t expert = 0; expert < choice_.size(); ++expert) {
    const double score = choice_[expert];
    if (kept == ids.size() && score <= choice_[ids[kept - 1]]) continue;
    size_t at = kept < ids.size() ? kept++ : kept - 1;
    for (; at > 0 && score > choice_[ids[at - 1]]; --at) ids[at] = ids[at - 1];
    ids[at] = static_cast<uint16_t>(expert);
  }
}

void RouterRule::GateScores(std::span<const double> logits, std::span<const uint16_t> ids,
                            std::span<float> scores) const {
  if (model_.scoring == GateScoring::kSoftmaxAfterTopK) {
    double sum = 0;
    for (const uint16_t id : ids) sum += std::exp(logits[id] - logits[ids[0]]);
    for (size_t i = 0; i < ids.size(); ++i) {
      scores[i] = static_cast<float>(std::exp(logits[ids[i]] - logits[ids[0]]) / sum);
    }
    return;
  }
  for (size_t i = 0; i < ids.size(); ++i) scores[i] = static_cast<float>(gate_[ids[i]]);
}

}  // namespace moecast
