#include "traces/rank_persistence.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "sim/base/check.h"
#include "sim/base/stats.h"
#include "traces/routing_stats.h"

namespace moecast {
namespace {

using Loads = std::vector<double>;  // [expert] or [rank]

double MaxOverMean(const Loads& loads) {
  const double all = std::accumulate(loads.begin(), loads.end(), 0.0);
  if (all == 0) return 1;
  return *std::max_element(loads.begin(), loads.end()) * static_cast<double>(loads.size()) / all;
}

Loads OfBlocks(const Loads& experts, int64_t ranks) {
  Loads loads;
  const auto count = static_cast<size_t>(ranks);
  for (size_t rank = 0; rank < count; ++rank) {
    const auto begin = static_cast<std::ptrdiff_t>(rank * experts.size() / count);
    const auto end = static_cast<std::ptrdiff_t>((rank + 1) * experts.size() / count);
    loads.push_back(std::accumulate(experts.begin() + begin, experts.begin() + end, 0.0));
  }
  return loads;
}

/// Loads of the ranks when each copy of an expert takes its part of what the expert has.
Loads OfPlan(const Loads& experts, const std::vector<std::vector<size_t>>& plan) {
  std::vector<double> copies(experts.size());
  for (const auto& slots : plan) {
    for (const size_t expert : slots) copies[expert] += 1;
  }
  Loads loads;
  for (const auto& slots : plan) {
    double load = 0;
    for (const size_t expert : slots) load += experts[expert] / copies[expert];
    loads.push_back(load);
  }
  return loads;
}

/// Expert loads of one layer, [window][expert].
std::vector<Loads> WindowLoads(const RoutingHeader& header, const PhaseRows& rows, size_t layer,
                               int64_t window_tokens) {
  const size_t layers = header.moe_layers.size();
  const auto top_k = static_cast<size_t>(header.top_k);
  const int64_t windows = rows.sequence_first.back() / window_tokens;
  std::vector<Loads> loads(static_cast<size_t>(windows),
                           Loads(static_cast<size_t>(header.experts)));
  for (int64_t token = 0; token < windows * window_tokens; ++token) {
    Loads& of = loads[static_cast<size_t>(token / window_tokens)];
    const size_t first = (static_cast<size_t>(token) * layers + layer) * top_k;
    if (rows.ids[first] == kUnknownExpert) continue;
    for (size_t rank = 0; rank < top_k; ++rank) of[rows.ids[first + rank]] += 1;
  }
  return loads;
}

/// Sums for the correlation of two figures.
struct Correlation {
  double x = 0, y = 0, xx = 0, yy = 0, xy = 0, count = 0;
  void Add(double a, double b) {
    x += a, y += b, xx += a * a, yy += b * b, xy += a * b, count += 1;
  }
  [[nodiscard]] double value() const {
    const double spread = (xx - x * x / count) * (yy - y * y / count);
    return count > 0 && spread > 0 ? (xy - x * y / count) / std::sqrt(spread) : 0;
  }
};

size_t Fullest(const Loads& loads) {
  return static_cast<size_t>(std::max_element(loads.begin(), loads.end()) - loads.begin());
}

/// Adds one layer's windows to the sums in `measured`.
void AddLayer(const std::vector<Loads>& windows, int64_t ranks, Correlation& next,
              RankPersistence& measured) {
  Loads totals(windows[0].size());
  for (size_t w = 0; w < windows.size(); ++w) {
    const Loads ranks_now = OfBlocks(windows[w], ranks);
    measured.by_window[w] += MaxOverMean(ranks_now);
    for (size_t e = 0; e < totals.size(); ++e) totals[e] += windows[w][e];
    if (w == 0) continue;
    const Loads ranks_before = OfBlocks(windows[w - 1], ranks);
    measured.still_fullest += Fullest(ranks_now) == Fullest(ranks_before) ? 1 : 0;
    for (size_t r = 0; r < ranks_now.size(); ++r) next.Add(ranks_before[r], ranks_now[r]);
    for (ReplicaForecast& forecast : measured.forecasts) {
      forecast.planned +=
          MaxOverMean(OfPlan(windows[w], PlanReplicas(windows[w - 1], ranks, forecast.replicas)));
      forecast.oracle +=
          MaxOverMean(OfPlan(windows[w], PlanReplicas(windows[w], ranks, forecast.replicas)));
    }
  }
  measured.of_totals += MaxOverMean(OfBlocks(totals, ranks));
}

}  // namespace

std::vector<std::vector<size_t>> PlanReplicas(const std::vector<double>& loads, int64_t ranks,
                                              int64_t replicas) {
  const size_t slots = loads.size() + static_cast<size_t>(replicas);
  SIM_CHECK(ranks >= 1 && slots % static_cast<size_t>(ranks) == 0);
  std::vector<double> copies(loads.size(), 1);
  const auto per_copy = [&](size_t e) { return loads[e] / copies[e]; };
  for (int64_t i = 0; i < replicas; ++i) {
    size_t hottest = 0;
    for (size_t e = 1; e < loads.size(); ++e) {
      if (per_copy(e) > per_copy(hottest)) hottest = e;
    }
    copies[hottest] += 1;
  }
  std::vector<size_t> placed;
  for (size_t e = 0; e < loads.size(); ++e)
    placed.insert(placed.end(), static_cast<size_t>(copies[e]), e);
  std::stable_sort(placed.begin(), placed.end(),
                   [&](size_t a, size_t b) { return per_copy(a) > per_copy(b); });
  const size_t slots_per_rank = slots / static_cast<size_t>(ranks);
  std::vector<std::vector<size_t>> plan(static_cast<size_t>(ranks));
  std::vector<double> filled(plan.size());
  for (const size_t expert : placed) {
    size_t best = plan.size();
    for (size_t rank = 0; rank < plan.size(); ++rank) {
      if (plan[rank].size() == slots_per_rank) continue;
      if (best == plan.size() || filled[rank] < filled[best]) best = rank;
    }
    plan[best].push_back(expert);
    filled[best] += per_copy(expert);
  }
  return plan;
}

RankPersistence MeasurePersistence(const RoutingHeader& header, const PhaseRows& rows,
                                   const PersistenceOptions& options) {
  SIM_CHECK(options.ranks >= 1 && options.ranks <= header.experts && options.window_tokens >= 1);
  RankPersistence measured;
  const int64_t windows = rows.sequence_first.back() / options.window_tokens;
  if (windows < 2) return measured;
  measured.windows = windows;
  measured.by_window.resize(static_cast<size_t>(windows));
  for (const int64_t replicas : options.replicas) {
    const int64_t over = (header.experts + replicas) % options.ranks;
    measured.forecasts.push_back({.replicas = replicas + (over > 0 ? options.ranks - over : 0)});
  }
  Correlation next;
  const size_t layers = header.moe_layers.size();
  for (size_t layer = 0; layer < layers; ++layer) {
    AddLayer(WindowLoads(header, rows, layer, options.window_tokens), options.ranks, next,
             measured);
  }
  const auto of_layers = static_cast<double>(layers);
  const double pairs = of_layers * static_cast<double>(windows - 1);
  for (double& of_window : measured.by_window) of_window /= of_layers;
  measured.max_over_mean = Mean(measured.by_window);
  measured.of_totals /= of_layers;
  measured.still_fullest /= pairs;
  measured.next_correlation = next.value();
  for (ReplicaForecast& forecast : measured.forecasts) {
    forecast.planned /= pairs;
    forecast.oracle /= pairs;
  }
  return measured;
}

}  // namespace moecast
