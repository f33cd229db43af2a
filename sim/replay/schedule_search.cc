#include "sim/replay/schedule_search.h"

#include <algorithm>
#include <limits>

#include "sim/base/check.h"
#include "sim/replay/gate_measures.h"

namespace moecast {
namespace {

constexpr double kNever = -std::numeric_limits<double>::infinity();

GateRows RowsOfLayer(const GateRows& rows, int64_t layer) {
  GateRows out{.top_k = rows.top_k};
  for (size_t row = 0; row < rows.moe_layer.size(); ++row) {
    if (rows.moe_layer[row] != layer) continue;
    out.moe_layer.push_back(0);
    const auto first = rows.scores.begin() + static_cast<int64_t>(row * rows.top_k);
    out.scores.insert(out.scores.end(), first, first + static_cast<int64_t>(rows.top_k));
  }
  return out;
}

/// The highest threshold that keeps at least `mean_k` experts of the rows.
double TightestThreshold(const GateRows& rows, double penalty, double mean_k) {
  constexpr int kHalvings = 40;  // far below the step between two scores of a trace
  const auto kept = [&](double threshold) {
    return MeasureKept(rows, AsetDerived{.threshold = {{threshold}}, .penalty = penalty})
        .mean_experts;
  };
  if (kept(1) >= mean_k) return 1;
  double enough = 0;
  double too_high = 1;
  for (int i = 0; i < kHalvings; ++i) {
    const double middle = (enough + too_high) / 2;
    (kept(middle) >= mean_k ? enough : too_high) = middle;
  }
  return enough;
}

}  // namespace

LayerWorth GateMassWorth(const GateRows& rows, int64_t moe_layers) {
  LayerWorth worth(static_cast<size_t>(moe_layers), std::vector<double>(rows.top_k));
  for (size_t row = 0; row < rows.moe_layer.size(); ++row) {
    std::vector<double>& layer = worth[static_cast<size_t>(rows.moe_layer[row])];
    double mass = 0;
    for (size_t rank = 0; rank < rows.top_k; ++rank) {
      mass += static_cast<double>(rows.scores[row * rows.top_k + rank]);
      layer[rank] += mass;
    }
  }
  for (std::vector<double>& layer : worth) {
    const double all = layer.back();
    SIM_CHECK(all > 0);
    for (double& mass : layer) mass /= all;
  }
  return worth;
}

std::vector<int64_t> BestSchedule(const LayerWorth& worth, int64_t budget) {
  const auto layers = static_cast<int64_t>(worth.size());
  const auto top_k = static_cast<int64_t>(worth.front().size());
  SIM_CHECK(layers <= budget);
  budget = std::min(budget, layers * top_k);
  const auto width = static_cast<size_t>(budget) + 1;
  // best[l][used]: worth of layers l .. with `used` experts spent before.
  std::vector<std::vector<double>> best(worth.size() + 1, std::vector<double>(width, 0.0));
  std::vector<std::vector<int64_t>> choice(worth.size(), std::vector<int64_t>(width, 0));
  for (size_t layer = worth.size(); layer-- > 0;) {
    for (size_t used = 0; used < width; ++used) {
      double most = kNever;
      for (int64_t k = 1; k <= top_k && static_cast<int64_t>(used) + k <= budget; ++k) {
        const double value = worth[layer][static_cast<size_t>(k) - 1] +
                             best[layer + 1][used + static_cast<size_t>(k)];
        if (value <= most) continue;
        most = value;
        choice[layer][used] = k;
      }
      best[layer][used] = most;
    }
  }
  std::vector<int64_t> schedule;
  size_t used = 0;
  for (size_t layer = 0; layer < worth.size(); ++layer) {
    schedule.push_back(choice[layer][used]);
    used += static_cast<size_t>(schedule.back());
  }
  return schedule;
}

double MeanWorth(const LayerWorth& worth, std::span<const int64_t> k_per_moe_layer) {
  SIM_CHECK(worth.size() == k_per_moe_layer.size());
  double sum = 0;
  for (size_t layer = 0; layer < worth.size(); ++layer) {
    sum += worth[layer][static_cast<size_t>(k_per_moe_layer[layer]) - 1];
  }
  return sum / static_cast<double>(worth.size());
}

TupleChoice BestTuple(const LayerWorth& worth, int64_t budget, int64_t model_layers,
                      std::span<const int32_t> moe_layers) {
  const auto top_k = static_cast<int64_t>(worth.front().size());
  TupleChoice best;
  double most = kNever;
  const auto consider = [&](const ScheduleTuple& tuple) {
    std::vector<int64_t> schedule = LayerScheduleFromTuple(tuple, model_layers, moe_layers);
    int64_t used = 0;
    for (const int64_t k : schedule) used += k;
    if (used > budget) return;
    const double value = MeanWorth(worth, schedule);
    if (value <= most) return;
    most = value;
    best = {.tuple = tuple, .k_per_moe_layer = std::move(schedule)};
  };
  for (int64_t b = 1; b <= top_k; ++b) {
    for (int64_t h = 1; h <= top_k; ++h) {
      for (int64_t e = 1; e <= top_k; ++e) {
        for (int64_t p = 1; p < std::max<int64_t>(model_layers, 2); ++p) {
          consider({.b = b, .h = h, .e = e, .p = p});
        }
      }
    }
  }
  SIM_CHECK(!best.k_per_moe_layer.empty());
  return best;
}

AsetDerived TuneAsetDerived(const GateRows& rows, int64_t moe_layers, double mean_k) {
  constexpr int kPenalties = 10;
  std::vector<GateRows> layers;
  for (int64_t layer = 0; layer < moe_layers; ++layer) layers.push_back(RowsOfLayer(rows, layer));
  AsetDerived best;
  double most = kNever;
  for (int step = 0; step <= kPenalties; ++step) {
    AsetDerived rule;
    rule.penalty = static_cast<double>(step) / kPenalties;
    for (const GateRows& layer : layers) {
      rule.threshold.values.push_back(TightestThreshold(layer, rule.penalty, mean_k));
    }
    const KeptShare kept = MeasureKept(rows, rule);
    // A penalty that cannot keep as few experts would win by keeping more.
    const double value = kept.mass - std::max(0.0, kept.mean_experts - mean_k);
    if (value <= most) continue;
    most = value;
    best = std::move(rule);
  }
  return best;
}

}  // namespace moecast
