#include "traces/twin/fit_targets.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>

#include "traces/twin/inclusion.h"

namespace moecast {
namespace {

double Sum(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0);
}

std::vector<double> SequencesOfDomains(const FitInput& input) {
  std::vector<double> sequences(input.domains.size());
  for (size_t s = 0; s < input.sample.sequences(); ++s) sequences[input.sample.domain(s)] += 1;
  return sequences;
}

/// How many sequences of a domain tell as much of it as all domains together. Eq. F2.
double SequencesWorth(const TwinMoments& trace) {
  const double between = Sum(trace.in_domain) - Sum(trace.across);
  const double within = Sum(trace.far) - Sum(trace.in_domain);
  constexpr double kMost = 1e6;
  return between > 0 ? std::clamp(within / between, 0.0, kMost) : kMost;
}

/// Factor on a layer's unevenness that takes out what few sequences add to it. Eq. F1.
double Evening(double across, double pooled, double even) {
  if (pooled <= even) return 1;
  return std::sqrt(std::clamp((across - even) / (pooled - even), 0.0, 1.0));
}

}  // namespace

int64_t FarLag(const TwinSample& sample) {
  constexpr uint64_t kFarthest = 512;
  std::vector<int64_t> lengths;
  for (size_t s = 0; s < sample.sequences(); ++s) lengths.push_back(sample.tokens_of(s));
  const auto middle = lengths.begin() + static_cast<std::ptrdiff_t>(lengths.size() / 2);
  std::nth_element(lengths.begin(), middle, lengths.end());
  const uint64_t half = std::clamp<uint64_t>(static_cast<uint64_t>(*middle) / 2, 2, kFarthest);
  return static_cast<int64_t>(std::bit_floor(half));
}

int64_t GroupSize(const TwinSample& sample, const TwinSample& independent) {
  constexpr double kLeastDifference = 0.02;  // of same-group pairs: what draws of a fit scatter by
  int64_t best = 0;
  double most = kLeastDifference;
  for (size_t size = 2; size < sample.experts(); size *= 2) {
    if (sample.experts() % size != 0) break;
    const double real = Sum(GroupPairs(sample, static_cast<int64_t>(size)));
    const double drawn = Sum(GroupPairs(independent, static_cast<int64_t>(size)));
    if (!(real > 0 && drawn > 0)) continue;
    // Larger groups have more pairs, so the same repulsion shows with less noise.
    const double difference = std::abs(std::log(real / drawn)) * std::sqrt(drawn / real);
    if (difference <= most) continue;
    most = difference;
    best = static_cast<int64_t>(size);
  }
  return best;
}

std::vector<double> WantedInclusion(const FitInput& input, const TwinMoments& trace) {
  const size_t layers = input.sample.layers();
  const size_t experts = input.sample.experts();
  const double even = static_cast<double>(input.header.top_k) / static_cast<double>(experts);
  const std::vector<double> sequences = SequencesOfDomains(input);
  const double all = Sum(sequences);
  const double worth = SequencesWorth(trace);
  const double least = 1 / (4 * static_cast<double>(input.sample.tokens()));
  constexpr double kMost = 0.998;
  std::vector<double> wanted(trace.inclusion.size());
  for (size_t i = 0; i < layers * experts; ++i) {
    const size_t layer = i / experts;
    double mean = 0;
    for (size_t d = 0; d < sequences.size(); ++d) {
      mean += sequences[d] / all * trace.inclusion[d * layers * experts + i];
    }
    const double evening = Evening(trace.across[layer], trace.pooled[layer],
                                   even * even * static_cast<double>(experts));
    for (size_t d = 0; d < sequences.size(); ++d) {
      const double own = sequences.size() == 1 ? 0 : sequences[d] / (sequences[d] + worth);
      const double share = mean + own * (trace.inclusion[d * layers * experts + i] - mean);
      wanted[d * layers * experts + i] = std::clamp(even + evening * (share - even), least, kMost);
    }
  }
  return wanted;
}

RoutingTwin FirstTwin(const FitInput& input, const TwinMoments& trace,
                      const std::vector<double>& wanted) {
  constexpr double kFirstStickiness = 0.3;
  constexpr double kFirstSpread = 1;
  constexpr double kKindStickiness = 0.5;  // more and kinds alone make adjacent tokens too alike
  constexpr int64_t kKinds = 8;  // enough for covariances as large as found; each costs tables
  RoutingTwin twin;
  twin.header = input.header;
  twin.header.further_ranks = 0;  // drawn rows have the experts chosen, no others
  const size_t rows = input.sample.layers() * input.sample.experts();
  const std::vector<double> sequences = SequencesOfDomains(input);
  for (size_t d = 0; d < input.domains.size(); ++d) {
    TwinDomain& domain = twin.domains.emplace_back();
    domain.name = input.domains[d];
    domain.share = sequences[d];
    for (size_t i = 0; i < rows; ++i) {
      domain.log_weights.push_back(LogWeightOfInclusion(wanted[d * rows + i]));
    }
  }
  for (size_t l = 0; l < input.sample.layers(); ++l) {
    const bool topical = trace.far[l] > trace.across[l] && trace.across[l] > 0;
    twin.topic_spread.push_back(topical ? std::sqrt(std::log(trace.far[l] / trace.across[l])) : 0);
  }
  twin.stickiness.assign(input.sample.layers(), kFirstStickiness);
  for (size_t i = 0; i < trace.windows.size(); ++i) {
    twin.distances.push_back(
        {.first = int64_t{1} << i, .share = 1 / static_cast<double>(trace.windows.size())});
  }
  twin.kinds = {.count = kKinds,
                .spread = trace.across_covariance > 0 ? kFirstSpread : 0,
                .stickiness = kKindStickiness};
  twin.scores = input.scores;
  twin.sequences = static_cast<int64_t>(input.sample.sequences());
  twin.prefill_tokens = input.prefill_tokens;
  twin.decode_tokens = input.decode_tokens;
  return twin;
}

}  // namespace moecast
