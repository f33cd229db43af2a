// Which efficiency an op is priced with, which part of a step it belongs to, and with what its
// error is correlated.
#pragma once

#include "sim/cost/roofline.h"
#include "sim/cost/step_cost.h"
#include "sim/model/op.h"

namespace moecast {

/// A visitor made of lambdas, one per kind of op; a generic lambda takes the rest.
template <class... Functions>
struct Overloaded : Functions... {
  using Functions::operator()...;
};
template <class... Functions>
Overloaded(Functions...) -> Overloaded<Functions...>;

constexpr OpClass ClassOf(const Gemm&) { return OpClass::kGemm; }
constexpr OpClass ClassOf(const ExpertGemm&) { return OpClass::kExperts; }
constexpr OpClass ClassOf(const RouteTokens&) { return OpClass::kRoute; }
constexpr OpClass ClassOf(const DecodeAttention&) { return OpClass::kDecodeAttention; }
constexpr OpClass ClassOf(const PrefillAttention&) { return OpClass::kPrefillAttention; }
constexpr OpClass ClassOf(const SelectTokens&) { return OpClass::kDecodeAttention; }
constexpr OpClass ClassOf(const LinearAttentionScan&) { return OpClass::kDecodeAttention; }
constexpr OpClass ClassOf(const KvAppend&) { return OpClass::kElementwise; }
constexpr OpClass ClassOf(const Elementwise&) { return OpClass::kElementwise; }
constexpr OpClass ClassOf(const ExtraWork& op) {
  return op.what->product ? OpClass::kGemm : OpClass::kElementwise;
}

constexpr StepPart PartOf(const Gemm& op) {
  return op.role == GemmRole::kRouter ? StepPart::kExperts : StepPart::kDense;
}
constexpr StepPart PartOf(const ExpertGemm&) { return StepPart::kExperts; }
constexpr StepPart PartOf(const ExpertExchange&) { return StepPart::kCollectives; }
constexpr StepPart PartOf(const RouteTokens&) { return StepPart::kExperts; }
constexpr StepPart PartOf(const DecodeAttention&) { return StepPart::kAttention; }
constexpr StepPart PartOf(const PrefillAttention&) { return StepPart::kAttention; }
constexpr StepPart PartOf(const SelectTokens&) { return StepPart::kAttention; }
constexpr StepPart PartOf(const LinearAttentionScan&) { return StepPart::kAttention; }
constexpr StepPart PartOf(const KvAppend&) { return StepPart::kAttention; }
constexpr StepPart PartOf(const Elementwise&) { return StepPart::kDense; }
constexpr StepPart PartOf(const ExtraWork&) { return StepPart::kDense; }
constexpr StepPart PartOf(const Collective&) { return StepPart::kCollectives; }

inline StepPart PartOf(const Op& op) {
  return std::visit([](const auto& body) { return PartOf(body); }, op);
}

inline ErrorSource SourceOf(const Op& op) {
  return std::visit(
      Overloaded{[](const Collective&) { return ErrorSource::kCollective; },
                 [](const ExpertExchange&) { return ErrorSource::kCollective; },
                 [](const auto& body) { return static_cast<ErrorSource>(ClassOf(body)); }},
      op);
}

}  // namespace moecast
