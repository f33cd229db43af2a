#include "sim/replay/gate_measures.h"

#include <algorithm>
#include <span>
#include <utility>

#include "sim/base/check.h"
#include "sim/base/stats.h"
#include "sim/policy/experts/score_entropy.h"

namespace moecast {
namespace {

constexpr int64_t kMostTargets = 15;
constexpr int kMostHalvings = 48;  // far below any step between two scores of a trace

std::vector<int64_t> Targets(int64_t top_k) {
  const int64_t step = std::max<int64_t>(1, (top_k - 1 + kMostTargets - 1) / kMostTargets);
  std::vector<int64_t> targets;
  for (int64_t wanted = 1; wanted < top_k; wanted += step) targets.push_back(wanted);
  return targets;
}

std::span<const float> ScoresOf(const GateRows& rows, size_t row) {
  return std::span(rows.scores).subspan(row * rows.top_k, rows.top_k);
}

RuleSetting Setting(int64_t wanted, double parameter, const KeptShare& kept) {
  return {.wanted = wanted,
          .parameter = parameter,
          .mean_kept = kept.mean_experts,
          .kept_mass = kept.mass};
}

/// Ends of a parameter: where a rule keeps the most and where the fewest experts.
struct ParameterEnds {
  double loose = 0;
  double tight = 0;
};

/// Fills `curve` for a rule that keeps no more experts nearer to the tight end.
/// `make`: (parameter) -> ExpertSelection.
template <class Make>
KeptCurve Bisect(const GateRows& rows, KeptCurve curve, ParameterEnds ends, const Make& make) {
  const double row = 1 / static_cast<double>(rows.moe_layer.size());
  const KeptShare loosest = MeasureKept(rows, make(ends.loose));
  const KeptShare tightest = MeasureKept(rows, make(ends.tight));
  curve.fewest = tightest.mean_experts;
  for (const int64_t wanted : Targets(static_cast<int64_t>(rows.top_k))) {
    const auto target = static_cast<double>(wanted);
    if (tightest.mean_experts >= target) {
      if (tightest.mean_experts < target + row) {
        curve.settings.push_back(Setting(wanted, ends.tight, tightest));
      }
      continue;
    }
    auto [enough, too_few] = ends;
    KeptShare kept = loosest;
    if (kept.mean_experts < target) continue;
    for (int i = 0; i < kMostHalvings && kept.mean_experts >= target + row; ++i) {
      const double middle = (enough + too_few) / 2;
      const KeptShare there = MeasureKept(rows, make(middle));
      if (there.mean_experts >= target) {
        enough = middle;
        kept = there;
      } else {
        too_few = middle;
      }
    }
    curve.settings.push_back(Setting(wanted, enough, kept));
  }
  return curve;
}

KeptCurve UniformCurve(const GateRows& rows) {
  KeptCurve curve = {.rule = "uniform_top_k", .parameter = "k", .fewest = 1};
  for (const int64_t k : Targets(static_cast<int64_t>(rows.top_k))) {
    curve.settings.push_back(
        Setting(k, static_cast<double>(k), MeasureKept(rows, UniformTopK{.k = k})));
  }
  return curve;
}

ScoreEntropy EntropyOf(int32_t layer, std::vector<double> values) {
  ScoreEntropy entropy = {.layer = layer, .rows = std::ssize(values)};
  if (values.empty()) return entropy;
  entropy.mean = Mean(values);
  entropy.p10 = Quantile(values, 0.1);
  entropy.p50 = Quantile(values, 0.5);
  entropy.p90 = Quantile(values, 0.9);
  return entropy;
}

}  // namespace

KeptShare MeasureKept(const GateRows& rows, const ExpertSelection& rule) {
  SIM_CHECK(!rows.moe_layer.empty());
  int64_t experts = 0;
  double native = 0;
  double mass = 0;
  for (size_t row = 0; row < rows.moe_layer.size(); ++row) {
    const auto scores = ScoresOf(rows, row);
    const int64_t kept = KeptExperts(
        rule,
        {.moe_layer = rows.moe_layer[row], .scores = scores, .native_top_k = std::ssize(scores)});
    experts += kept;
    for (int64_t rank = 0; rank < std::ssize(scores); ++rank) {
      const double score = scores[static_cast<size_t>(rank)];
      native += score;
      if (rank < kept) mass += score;
    }
  }
  return {.mean_experts = static_cast<double>(experts) / static_cast<double>(rows.moe_layer.size()),
          .mass = mass / native};
}

std::vector<KeptCurve> MeasureKeptCurves(const GateRows& rows) {
  constexpr double kPenalty = 1.0 / 2;
  return {UniformCurve(rows),
          Bisect(rows, {.rule = "ratio_to_best", .parameter = "threshold"}, {0, 1},
                 [](double b) -> ExpertSelection { return RatioToBest{.threshold = {{b}}}; }),
          Bisect(rows, {.rule = "top_p", .parameter = "mass"}, {1, 0},
                 [](double p) -> ExpertSelection { return TopP{.mass = {{p}}}; }),
          Bisect(rows, {.rule = "aset_derived", .parameter = "threshold", .penalty = kPenalty},
                 {0, 1}, [](double b) -> ExpertSelection {
                   return AsetDerived{.threshold = {{b}}, .penalty = kPenalty};
                 })};
}

GateRouting MeasureGates(const GateRows& rows, const std::vector<int32_t>& moe_layers) {
  GateRouting measured;
  measured.rows = std::ssize(rows.moe_layer);
  std::vector<std::vector<double>> entropies(moe_layers.size());
  for (size_t row = 0; row < rows.moe_layer.size(); ++row) {
    entropies[static_cast<size_t>(rows.moe_layer[row])].push_back(
        NormalisedEntropy(ScoresOf(rows, row)));
  }
  for (size_t layer = 0; layer < moe_layers.size(); ++layer) {
    measured.entropy.push_back(EntropyOf(moe_layers[layer], std::move(entropies[layer])));
  }
  measured.curves = MeasureKeptCurves(rows);
  return measured;
}

}  // namespace moecast
