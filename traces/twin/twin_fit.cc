#include "traces/twin/twin_fit.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "traces/routing_synthesis.h"
#include "traces/twin/fit_targets.h"
#include "traces/twin/inclusion.h"

namespace moecast {
namespace {

double Sum(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0);
}

/// `wanted` over `have`, both above `base`, within what one round may trust.
double Gain(double wanted, double have, double base_wanted, double base_have) {
  constexpr double kMost = 2;
  const double excess = std::max(wanted - base_wanted, 0.0);
  const double drawn = std::max(have - base_have, 0.0);
  if (drawn <= 0) return excess > 0 ? kMost : 1;
  return std::clamp(excess / drawn, 1 / kMost, kMost);
}

class Fitter {
 public:
  Fitter(const FitInput& input, const TwinFitOptions& options)
      : input_(input), options_(options), moments_{.domains = input.domains.size()} {
    moments_.far_lag = FarLag(input.sample);
    fit_.trace = MeasureMoments(input.sample, moments_);
    wanted_ = WantedInclusion(input, fit_.trace);
    fit_.twin = FirstTwin(input, fit_.trace, wanted_);
    AddGroups();
  }

  TwinFit Run() && {
    for (int round = 0; round < options_.rounds; ++round) {
      fit_.drawn = MeasureMoments(Draw(fit_.twin, round), moments_);
      if (round + 1 < options_.rounds) Move(Step(round));
    }
    fit_.twin.sequences = static_cast<int64_t>(input_.sample.sequences());
    return std::move(fit_);
  }

 private:
  /// Full steps first; then shorter ones, which average the noise of single rounds.
  [[nodiscard]] double Step(int round) const {
    const int full = options_.rounds / 2;
    return round < full ? 1 : 1 / static_cast<double>(2 + round - full);
  }

  TwinSample Draw(RoutingTwin twin, int round) const {
    const double tokens_per_sequence = static_cast<double>(input_.sample.tokens()) /
                                       static_cast<double>(input_.sample.sequences());
    const double rows = tokens_per_sequence * static_cast<double>(input_.sample.layers());
    constexpr double kFewest = 32;
    twin.sequences = static_cast<int64_t>(
        std::max(static_cast<double>(options_.rows_per_round) / rows, kFewest));
    twin.header.has_scores = false;
    RoutingSynthesiser synthesiser(
        twin, {.seed = options_.seed.seed, .replication = static_cast<uint32_t>(round)});
    TwinSample sample(twin.header);
    RoutingChunk chunk;
    SequenceId last;
    while (synthesiser.Next(chunk)) {
      if (sample.sequences() == 0 || chunk.sequence != last) {
        sample.AddSequence(static_cast<uint32_t>(synthesiser.domain()));
      }
      last = chunk.sequence;
      sample.Add(chunk);
    }
    return sample;
  }

  /// Blocks of experts that the trace's rows have less or more of than independent draws.
  void AddGroups() {
    RoutingTwin independent = fit_.twin;
    std::fill(independent.stickiness.begin(), independent.stickiness.end(), 0);
    fit_.twin.groups.size = GroupSize(input_.sample, Draw(std::move(independent), 0));
    if (fit_.twin.groups.size == 0) return;
    fit_.twin.groups.affinity.assign(input_.sample.layers(), 1);
    moments_.group_size = fit_.twin.groups.size;
    fit_.trace.group_pairs = GroupPairs(input_.sample, moments_.group_size);
  }

  void Move(double step) {
    MovePopularity(step);
    MoveStickiness(step);
    MoveDistances(step);
    MoveKinds(step);
    const double k = input_.header.top_k;
    for (size_t l = 0; l < input_.sample.layers(); ++l) {
      double& spread = fit_.twin.topic_spread[l];
      const double gain =
          Gain(fit_.trace.far[l], fit_.drawn.far[l], fit_.trace.across[l], fit_.drawn.across[l]);
      spread = std::min(spread * std::pow(gain, step / 2), kMaxTopicSpread / 2);
      if (moments_.group_size == 0) continue;
      const double pairs =
          fit_.trace.group_pairs[l] / std::max(fit_.drawn.group_pairs[l], 1 / k / k / k);
      double& affinity = fit_.twin.groups.affinity[l];
      affinity = std::clamp(affinity * std::pow(pairs, 2 * step), 1.0 / 64, 64.0);
    }
  }

  /// Every domain moves by what all domains miss, and in part by what it misses itself.
  void MovePopularity(double step) {
    constexpr double kSequencesToTrust = 64;
    constexpr double kMostMove = 1;
    constexpr double kResponse = 1.6;  // topics and kinds flatten what a weight brings about
    const size_t rows = input_.sample.layers() * input_.sample.experts();
    const double least = 1 / static_cast<double>(options_.rows_per_round);
    double all = 0;
    for (const TwinDomain& domain : fit_.twin.domains) all += domain.share;
    for (size_t i = 0; i < rows; ++i) {
      double wanted = 0;
      double have = 0;
      for (size_t d = 0; d < fit_.twin.domains.size(); ++d) {
        const double share = fit_.twin.domains[d].share / all;
        wanted += share * wanted_[d * rows + i];
        have += share * fit_.drawn.inclusion[d * rows + i];
      }
      const double pooled = LogWeight(wanted, least) - LogWeight(have, least);
      for (size_t d = 0; d < fit_.twin.domains.size(); ++d) {
        TwinDomain& domain = fit_.twin.domains[d];
        const double drawn = domain.share / all * static_cast<double>(drawn_sequences());
        const double own = LogWeight(wanted_[d * rows + i], least) -
                           LogWeight(fit_.drawn.inclusion[d * rows + i], least);
        const double trust = drawn / (drawn + kSequencesToTrust);
        const double move = fit_.twin.domains.size() == 1 ? own : pooled + trust * (own - pooled);
        domain.log_weights[i] += std::clamp(kResponse * step * move, -kMostMove, kMostMove);
      }
    }
  }

  [[nodiscard]] size_t drawn_sequences() const {
    const double tokens_per_sequence = static_cast<double>(input_.sample.tokens()) /
                                       static_cast<double>(input_.sample.sequences());
    return static_cast<size_t>(static_cast<double>(options_.rows_per_round) /
                               (tokens_per_sequence * static_cast<double>(input_.sample.layers())));
  }

  static double LogWeight(double chance, double least) {
    constexpr double kMost = 0.999;
    return LogWeightOfInclusion(std::clamp(chance, least, kMost));
  }

  /// The nearest lag's share moves by what all layers miss, each layer by its difference to that.
  void MoveStickiness(double step) {
    const double far = Sum(fit_.drawn.far);
    const double of_all = Gain(Sum(fit_.trace.adjacent), Sum(fit_.drawn.adjacent), far, far);
    for (size_t l = 0; l < input_.sample.layers(); ++l) {
      const double gain = Gain(fit_.trace.adjacent[l], fit_.drawn.adjacent[l], fit_.drawn.far[l],
                               fit_.drawn.far[l]);
      fit_.twin.stickiness[l] *= std::pow(gain / of_all, step);
    }
    fit_.twin.distances[0].share *= std::pow(of_all, step);
  }

  /// A window that has too many experts more than its halves asks for more tokens that take after
  /// one half of it ago. Stickiness makes good what the nearest lag's share loses.
  void MoveDistances(double step) {
    constexpr double kPower = 12;  // a few percent of distinct experts are much of a share
    constexpr double kLeast = 1.0 / (1 << 16);
    constexpr double kMost = 0.95;
    std::vector<DistanceShare>& parts = fit_.twin.distances;
    double all = parts[0].share;
    for (size_t i = 1; i < parts.size(); ++i) {
      const double saturation = fit_.trace.windows[i] / static_cast<double>(input_.header.experts);
      const double excess = std::log(fit_.drawn.windows[i] / fit_.trace.windows[i]);
      const double of_halves = std::log(fit_.drawn.windows[i - 1] / fit_.trace.windows[i - 1]);
      const double own = excess - (1 - saturation) * of_halves;
      parts[i].share *= std::clamp(std::exp(kPower * step * own), 1.0 / 2, 2.0);
      parts[i].share = std::max(parts[i].share, kLeast * parts[0].share);
      all += parts[i].share;
    }
    for (DistanceShare& part : parts) part.share /= all;
    for (double& stickiness : fit_.twin.stickiness) {
      stickiness = std::clamp(stickiness * all, 1.0 / 1024, kMost);
    }
  }

  void MoveKinds(double step) {
    constexpr double kMost = 2.5;
    const double gain = Gain(fit_.trace.across_covariance, fit_.drawn.across_covariance, 0, 0);
    double& spread = fit_.twin.kinds.spread;
    spread = std::min(spread * std::pow(gain, step / 2), kMost);
  }

  const FitInput& input_;
  TwinFitOptions options_;
  TwinMomentOptions moments_;
  std::vector<double> wanted_;  // [domain][layer][expert]
  TwinFit fit_;
};

}  // namespace

TwinFit FitTwin(const FitInput& input, const TwinFitOptions& options) {
  return Fitter(input, options).Run();
}

}  // namespace moecast
