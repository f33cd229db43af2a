#include "kernels/bench/check_route.h"

#include <array>
#include <cmath>
#include <cstdio>

#include "kernels/bench/check_support.h"
#include "kernels/ops/route/naive.h"

namespace moecast::kernels {
namespace {

constexpr double kWeightTolerance = 1e-4;  // relative, fp32 with approximate exponentials
constexpr double kDecisionMargin = 1e-4;
constexpr float kBiasScale = 0.2F;

struct RouteCase {
  ExpertShape shape;
  RoutingRule rule;
  bool biased = false;
};

std::vector<SkipRule> SkipRules() {
  return {{},
          {.kind = SkipKind::kUniform, .k = 2},
          {.kind = SkipKind::kRatio, .threshold = 0.6F},
          {.kind = SkipKind::kTopP, .threshold = 0.7F},
          {.kind = SkipKind::kAsetDerived, .threshold = 0.9F, .penalty = 0.3F}};
}

std::vector<ScoreRule> ScoreRules() {
  return {{.renormalise = Renormalise::kNone},
          {.renormalise = Renormalise::kMass, .mass_k = 6},
          {.renormalise = Renormalise::kMass, .mass_k = 12},
          {.score = ScoreKind::kSigmoid, .scale = 2.5F},
          {.score = ScoreKind::kSigmoid, .renormalise = Renormalise::kNone},
          {.score = ScoreKind::kSigmoid,
           .grouping = GroupKind::kLimited,
           .groups = 8,
           .kept_groups = 4,
           .scale = 2.5F},
          {.grouping = GroupKind::kLimited, .groups = 12, .kept_groups = 3},
          {.grouping = GroupKind::kBalanced, .groups = 6}};
}

std::vector<BatchRule> BatchRules() {
  return {{.kind = BatchKind::kOea, .base_k = 2}, {.kind = BatchKind::kXShare, .budget = 24}};
}

std::vector<RouteCase> RouteCases() {
  std::vector<RouteCase> cases;
  for (const ScoreRule& score : ScoreRules()) {
    for (const SkipRule& skip : SkipRules())
      cases.push_back({{19, 6, 96, 256, 32}, {.score = score, .skip = skip}, false});
    for (const BatchRule& batch : BatchRules())
      cases.push_back({{37, 6, 96, 192, 32}, {.score = score, .batch = batch}, false});
    cases.push_back({{16, 6, 96, 256, 32}, {.score = score}, true});
  }
  // Every number of elements a lane, one block and several, several rounds of tokens, odd counts.
  for (const int32_t tokens : {1, 16, 17, 128, 333, 4100})
    cases.push_back({{tokens, 8, 256, 64, 32}, {}, false});
  for (const int32_t experts : {5, 33, 64, 200, 300, 512}) {
    cases.push_back({{23, 5, experts, 1088, 32}, {}, false});
    cases.push_back({{777, 5, experts, 64, 32}, {}, false});
  }
  // Many tokens are chosen for by other blocks.
  for (const ScoreRule& score : ScoreRules())
    cases.push_back({{300, 6, 96, 192, 32}, {.score = score, .skip = SkipRules().back()}, true});
  cases.push_back({{70, 16, 512, 64, 32}, {.batch = {.kind = BatchKind::kOea, .base_k = 3}}, true});
  cases.push_back({{300, 8, 160, 64, 32}, {.batch = {.kind = BatchKind::kXShare, .budget = 9}}});
  cases.push_back({{1, 8, 64, 64, 32}, {.batch = {.kind = BatchKind::kXShare, .budget = 3}}});
  // What the gate product's tilings are chosen for.
  cases.push_back({{64, 8, 256, 7168, 32}, {.score = {.score = ScoreKind::kSigmoid}}, true});
  cases.push_back({{128, 8, 128, 4096, 32}, {}, false});
  cases.push_back({{40, 4, 128, 2880, 32}, {}, false});
  return cases;
}

bool HasNaiveForm(const RouteCase& check) {
  return !check.biased && check.rule.score.grouping == GroupKind::kNone &&
         check.rule.batch.kind == BatchKind::kNone && check.shape.tokens <= 128;
}

std::string CheckOne(const RouteCase& check, uint64_t seed, const Stream& stream) {
  const ExpertShape& s = check.shape;
  RngStream rng({.seed = seed}, "kernels/check_route");
  const Operand x = Draw(rng, s.tokens, s.hidden, 1);
  const Operand gate = Draw(rng, s.experts, s.hidden, 4 / std::sqrt(s.hidden));
  std::vector<float> bias;
  for (int32_t e = 0; check.biased && e < s.experts; ++e)
    bias.push_back(kBiasScale * static_cast<float>(2 * rng.NextUniform() - 1));
  const std::vector<__nv_bfloat16> packed = Packed(gate.row_major, s.experts, s.hidden);
  const DeviceBuffer<__nv_bfloat16> device_x{std::span<const __nv_bfloat16>(x.row_major)};
  const DeviceBuffer<__nv_bfloat16> device_gate{std::span<const __nv_bfloat16>(packed)};
  const DeviceBuffer<float> device_bias{std::span<const float>(bias)};
  const reference::Selection expected =
      reference::Select(s, check.rule, std::vector<double>(bias.begin(), bias.end()),
                        reference::GateLogits(x.exact, gate.exact));
  const RoutingOutputs out(s);
  CUDA_CHECK(cudaDeviceSynchronize());  // the stream does not wait for the default one
  Route(s, check.rule, device_x.data(), device_gate.data(), device_bias.data(), out.buffers(),
        stream.get());
  const RoutingMatch match = RequireRouting(s, expected, out);
  if (HasNaiveForm(check)) {
    const RoutingOutputs naive(s);
    CUDA_CHECK(cudaDeviceSynchronize());
    RouteNaive(s, check.rule, device_x.data(), device_gate.data(), naive.buffers(), stream.get());
    RequireRouting(s, expected, naive);
  }
  std::array<char, 160> line{};
  std::snprintf(line.data(), line.size(),
                "T=%d k=%d E=%d H=%d score %d groups %d batch %d skip %d bias %d: A=%zu D=%zu "
                "close %d",
                s.tokens, s.top_k, s.experts, s.hidden, static_cast<int>(check.rule.score.score),
                static_cast<int>(check.rule.score.grouping),
                static_cast<int>(check.rule.batch.kind), static_cast<int>(check.rule.skip.kind),
                check.biased ? 1 : 0, match.rows.slot_token.size(),
                match.rows.active_experts.size(), match.close);
  return line.data();
}

int RequireSelection(const ExpertShape& s, const reference::Selection& expected,
                     const std::vector<int32_t>& experts, const std::vector<float>& weights) {
  int close = 0;
  for (int32_t t = 0; t < s.tokens; ++t) {
    if (expected.margin_of_token[static_cast<size_t>(t)] < kDecisionMargin) {
      ++close;
      continue;
    }
    for (int32_t j = 0; j < s.top_k; ++j) {
      const auto slot = static_cast<size_t>(t * s.top_k + j);
      const std::string where = "token " + std::to_string(t) + " rank " + std::to_string(j);
      Require(experts[slot] == expected.expert_of_slot[slot],
              where + ": expert " + std::to_string(experts[slot]) + ", reference " +
                  std::to_string(expected.expert_of_slot[slot]));
      const double want = expected.weight_of_slot[slot];
      Require(std::abs(static_cast<double>(weights[slot]) - want) <= kWeightTolerance * want,
              where + ": weight " + std::to_string(weights[slot]) + ", reference " +
                  std::to_string(want));
    }
  }
  return close;
}

}  // namespace

RoutingOutputs::RoutingOutputs(const ExpertShape& shape)
    : partial_logits(PartialLogits(shape)),
      expert_of_slot(static_cast<size_t>(shape.tokens) * static_cast<size_t>(shape.top_k)),
      weight_of_slot(expert_of_slot.size()),
      position_of_slot(expert_of_slot.size()),
      active_experts(static_cast<size_t>(shape.experts)),
      active_count(1),
      offsets(static_cast<size_t>(shape.experts) + 1),
      slot_token(expert_of_slot.size()) {
  partial_logits.Poison(), expert_of_slot.Poison(), weight_of_slot.Poison();
  position_of_slot.Zero();  // its -1 is a result
  active_experts.Poison(), active_count.Poison(), offsets.Poison(), slot_token.Poison();
}

RouteBuffers RoutingOutputs::buffers() const {
  return {.partial_logits = partial_logits.data(),
          .expert_of_slot = expert_of_slot.data(),
          .weight_of_slot = weight_of_slot.data(),
          .position_of_slot = position_of_slot.data(),
          .active_experts = active_experts.data(),
          .active_count = active_count.data(),
          .offsets = offsets.data(),
          .slot_token = slot_token.data()};
}

RoutingMatch RequireRouting(const ExpertShape& shape, const reference::Selection& expected,
                            const RoutingOutputs& out) {
  const std::vector<int32_t> experts = out.expert_of_slot.ToHost();
  RoutingMatch match;
  match.close = RequireSelection(shape, expected, experts, out.weight_of_slot.ToHost());
  for (const int32_t expert : experts)
    Require(expert >= 0 && expert <= shape.experts, "an expert is out of range");
  match.rows = reference::Align(shape, experts);
  const auto head = [](const DeviceBuffer<int32_t>& buffer, size_t count) {
    std::vector<int32_t> values = buffer.ToHost();
    values.resize(count);
    return values;
  };
  const size_t distinct = match.rows.active_experts.size();
  Require(head(out.active_count, 1)[0] == static_cast<int32_t>(distinct), "active count differs");
  Require(head(out.active_experts, distinct) == match.rows.active_experts, "active experts differ");
  Require(head(out.offsets, distinct + 1) == match.rows.offsets, "offsets differ");
  Require(head(out.slot_token, match.rows.slot_token.size()) == match.rows.slot_token,
          "tokens of slots differ");
  Require(out.position_of_slot.ToHost() == match.rows.position_of_slot, "positions differ");
  return match;
}

void CheckRoute(uint64_t seed, const Stream& stream,
                const std::function<void(const std::string& line)>& report) {
  for (const RouteCase& check : RouteCases()) {
    try {
      report(CheckOne(check, seed++, stream));
    } catch (const std::runtime_error& error) {
      const ExpertShape& s = check.shape;
      throw std::runtime_error("route T=" + std::to_string(s.tokens) +
                               " E=" + std::to_string(s.experts) +
                               " H=" + std::to_string(s.hidden) + ": " + error.what());
    }
  }
}

}  // namespace moecast::kernels
