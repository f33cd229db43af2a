#include "sim/policy/expert_policy.h"

#include <algorithm>

#include "sim/base/check.h"

namespace moecast {
namespace {

template <class... Arms>
struct Overloaded : Arms... {
  using Arms::operator()...;
};
template <class... Arms>
Overloaded(Arms...) -> Overloaded<Arms...>;

SelectionKind TokenKind(const ExpertSelection& rule) {
  return std::visit(Overloaded{[](const NativeTopK&) { return SelectionKind::kNative; },
                               [](const UniformTopK&) { return SelectionKind::kUniformTopK; },
                               [](const LayerSchedule&) { return SelectionKind::kLayerSchedule; },
                               [](const RatioToBest&) { return SelectionKind::kRatioToBest; },
                               [](const TopP&) { return SelectionKind::kTopP; },
                               [](const AsetDerived&) { return SelectionKind::kAsetDerived; }},
                    rule);
}

SelectionKind BatchKind(const BatchRule& rule) {
  return std::visit(Overloaded{[](const Oea&) { return SelectionKind::kOea; },
                               [](const XShare&) { return SelectionKind::kXShare; },
                               [](const Lynx&) { return SelectionKind::kLynx; },
                               [](const Sere&) { return SelectionKind::kSere; },
                               [](const AllocTokens&) { return SelectionKind::kAllocTokens; }},
                    rule.kind);
}

}  // namespace

size_t LoadSwitch::Choose(const StepLoad& load) const {
  double value = 0;
  switch (measure) {
    case LoadMeasure::kBatch:
      value = static_cast<double>(load.tokens());
      break;
    case LoadMeasure::kQueue:
      value = static_cast<double>(load.waiting_requests);
      break;
    case LoadMeasure::kSloSlack:
      value = tpot_bound.count() > 0 ? 1 - load.last_gap / tpot_bound : 1;
      break;
  }
  return static_cast<size_t>(std::ranges::upper_bound(below, value) - below.begin());
}

const ExpertSelection* ExpertPolicy::token_rule() const {
  return rules.size() == 1 ? std::get_if<ExpertSelection>(&rules.front()) : nullptr;
}

bool ExpertPolicy::IsNative() const {
  const ExpertSelection* rule = token_rule();
  return rule != nullptr && std::holds_alternative<NativeTopK>(*rule) && mass_ranks == 0;
}

bool NeedsScores(const ExpertRule& rule) {
  return std::visit(Overloaded{[](const ExpertSelection& token) { return NeedsScores(token); },
                               [](const BatchRule& batch) { return batch.NeedsScores(); },
                               [](const EacPrefill& prefill) { return prefill.kNeedsScores; }},
                    rule);
}

bool NeedsScores(const ExpertPolicy& policy) {
  return std::ranges::any_of(policy.rules,
                             [](const ExpertRule& rule) { return NeedsScores(rule); });
}

bool IsStepLevel(const ExpertRule& rule) { return !std::holds_alternative<ExpertSelection>(rule); }

bool IsStepLevel(const ExpertPolicy& policy) {
  return policy.rules.size() > 1 || IsStepLevel(policy.rules.front());
}

int64_t RanksWanted(const ExpertRule& rule, int64_t top_k) {
  const auto* batch = std::get_if<BatchRule>(&rule);
  return batch != nullptr ? batch->RanksWanted(top_k) : top_k;
}

SelectionKind KindOf(const ExpertRule& rule) {
  return std::visit(Overloaded{[](const ExpertSelection& token) { return TokenKind(token); },
                               [](const BatchRule& batch) { return BatchKind(batch); },
                               [](const EacPrefill&) { return SelectionKind::kEacPrefill; }},
                    rule);
}

}  // namespace moecast
