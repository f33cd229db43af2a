#include "traces/routing_stats_report.h"

#include <algorithm>
#include <boost/json.hpp>
#include <cmath>
#include <vector>

#include "sim/base/text.h"

namespace moecast {
namespace {

namespace json = boost::json;

const char* Name(RoutingPhase phase) {
  return phase == RoutingPhase::kPrefill ? "prefill" : "decode";
}

const char* Name(BatchForming forming) {
  switch (forming) {
    case BatchForming::kConsecutive:
      return "consecutive";
    case BatchForming::kOnePerSequence:
      return "one_per_sequence";
    case BatchForming::kRandomTokens:
      return "random_tokens";
  }
  return "";
}

std::string Sampling(BatchForming forming, const RoutingStatsOptions& options) {
  const std::string draws = std::to_string(options.draws);
  switch (forming) {
    case BatchForming::kConsecutive:
      return "windows of consecutive tokens in file order, across sequences, without overlap; all, "
             "or " +
             draws + " evenly spaced";
    case BatchForming::kOnePerSequence:
      return draws + " batches: a uniform token from each of B sequences drawn without replacement";
    case BatchForming::kRandomTokens:
      return draws + " batches: B uniform tokens of all sequences, with replacement";
  }
  return "";
}

std::string Pad(std::string text, size_t width) {
  if (text.size() < width) text.insert(0, width - text.size(), ' ');
  return text;
}

constexpr size_t kColumn = 18;

/// Columns of numbers under right-aligned titles.
class Columns {
 public:
  explicit Columns(const std::vector<std::string>& titles) { Row(titles); }
  void Row(const std::vector<std::string>& cells) {
    for (const std::string& cell : cells) text_ += Pad(cell, kColumn);
    text_ += "\n";
  }
  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  std::string text_;
};

const BatchRouting* Find(const PhaseRouting& phase, BatchForming forming, int64_t batch) {
  for (const BatchRouting& of : phase.batches) {
    if (of.forming == forming && of.batch == batch) return &of;
  }
  return nullptr;
}

std::string LayerTable(const RoutingStats& stats, const PhaseRouting& phase) {
  Columns table({"model layer", "max/mean", "entropy bits"});
  for (const LayerRouting& layer : phase.layers) {
    table.Row(
        {std::to_string(layer.layer), Fixed(layer.max_over_mean, 2), Fixed(layer.entropy_bits, 3)});
  }
  return "Popularity of experts over all tokens (even: max/mean 1.00, entropy " +
         Fixed(std::log2(stats.header.experts), 3) + " bits)\n" + table.text();
}

std::string DistinctTable(const RoutingStats& stats, const PhaseRouting& phase) {
  Columns table({"batch", "consecutive", "one per sequence", "random tokens", "independent"});
  for (const int64_t batch : stats.options.batches) {
    std::vector<std::string> cells = {std::to_string(batch)};
    for (const BatchForming forming : kBatchFormings) {
      const BatchRouting* of = Find(phase, forming, batch);
      cells.push_back(of == nullptr ? "-" : Fixed(of->distinct_experts, 2));
    }
    cells.push_back(Fixed(IndependentDistinct(stats.header, batch), 2));
    table.Row(cells);
  }
  return "Distinct experts of " + std::to_string(stats.header.experts) +
         " by batch size, mean over batches and layers\n" + table.text();
}

std::string RankTable(const RoutingStats& stats, const PhaseRouting& phase) {
  Columns table({"batch", "ranks", "consecutive", "one per sequence", "random tokens"});
  for (size_t r = 0; r < stats.options.ranks.size(); ++r) {
    for (const int64_t batch : stats.options.batches) {
      std::vector<std::string> cells = {std::to_string(batch),
                                        std::to_string(stats.options.ranks[r])};
      for (const BatchForming forming : kBatchFormings) {
        const BatchRouting* of = Find(phase, forming, batch);
        cells.push_back(of == nullptr ? "-" : Fixed(of->ranks[r].max_over_mean, 3));
      }
      table.Row(cells);
    }
  }
  return "Fullest expert-parallel rank over the average, contiguous blocks of experts, mean over "
         "batches and layers\n" +
         table.text();
}

/// Whether a hot rank stays hot, and what a rebalance by the window before would leave.
std::string PersistenceTable(const RoutingStats& stats, const PhaseRouting& phase) {
  Columns table({"ranks", "windows", "max/mean", "that lasts", "correlation", "still fullest"});
  Columns plans({"ranks", "replicas", "planned", "oracle"});
  for (size_t r = 0; r < phase.persistence.size(); ++r) {
    const RankPersistence& of = phase.persistence[r];
    const std::string ranks = std::to_string(stats.options.ranks[r]);
    if (of.windows == 0) continue;
    table.Row({ranks, std::to_string(of.windows), Fixed(of.max_over_mean, 3),
               Fixed(of.of_totals, 3), Fixed(of.next_correlation, 3), Fixed(of.still_fullest, 3)});
    for (const ReplicaForecast& plan : of.forecasts) {
      plans.Row(
          {ranks, std::to_string(plan.replicas), Fixed(plan.planned, 3), Fixed(plan.oracle, 3)});
    }
  }
  return "Load of contiguous ranks in windows of " + std::to_string(stats.options.window_tokens) +
         " tokens: fullest over the average, that of all windows together, correlation of a rank's "
         "load with its next, chance that the fullest stays the fullest\n" +
         table.text() +
         "\nFullest over the average with replicas of hot experts, placed by the window before "
         "(planned) or by the window itself (oracle)\n" +
         plans.text();
}

std::string PhaseText(const RoutingStats& stats, const PhaseRouting& phase) {
  std::string text = std::string(Name(phase.phase)) + ": " + std::to_string(phase.sequences) +
                     " sequences, " + std::to_string(phase.tokens) + " tokens, " +
                     std::to_string(phase.unknown_rows) +
                     " unknown (token, layer) rows left out\n\n";
  text += LayerTable(stats, phase) + "\n";
  if (phase.adjacent_overlap) {
    text += "Adjacent tokens of a sequence share " + Fixed(*phase.adjacent_overlap, 3) + " of " +
            std::to_string(stats.header.top_k) +
            " experts, mean over all pairs and layers (independent uniform: " +
            Fixed(phase.independent_overlap, 3) + ")\n\n";
  }
  return text + DistinctTable(stats, phase) + "\n" + RankTable(stats, phase) + "\n" +
         PersistenceTable(stats, phase) + "\n";
}

json::object BatchJson(const BatchRouting& of) {
  json::array ranks;
  for (const RankImbalance& rank : of.ranks) {
    ranks.push_back({{"ranks", rank.ranks}, {"max_over_mean", rank.max_over_mean}});
  }
  return {{"forming", Name(of.forming)},
          {"batch_tokens", of.batch},
          {"batches_sampled", of.batches_sampled},
          {"distinct_experts", of.distinct_experts},
          {"independent_distinct_experts", of.independent},
          {"rank_imbalance", std::move(ranks)}};
}

json::array PersistenceJson(const RoutingStats& stats, const PhaseRouting& phase) {
  json::array all;
  for (size_t r = 0; r < phase.persistence.size(); ++r) {
    const RankPersistence& of = phase.persistence[r];
    json::array plans;
    for (const ReplicaForecast& plan : of.forecasts) {
      plans.push_back({{"replicas", plan.replicas},
                       {"planned_max_over_mean", plan.planned},
                       {"oracle_max_over_mean", plan.oracle}});
    }
    all.push_back({{"ranks", stats.options.ranks[r]},
                   {"window_tokens", stats.options.window_tokens},
                   {"windows", of.windows},
                   {"max_over_mean", of.max_over_mean},
                   {"lasting_max_over_mean", of.of_totals},
                   {"next_window_correlation", of.next_correlation},
                   {"still_fullest", of.still_fullest},
                   {"replicas", std::move(plans)}});
  }
  return all;
}

json::object PhaseJson(const RoutingStats& stats, const PhaseRouting& phase) {
  json::array layers;
  for (const LayerRouting& layer : phase.layers) {
    layers.push_back({{"model_layer", layer.layer},
                      {"max_over_mean", layer.max_over_mean},
                      {"entropy_bits", layer.entropy_bits}});
  }
  json::array batches;
  for (const BatchRouting& of : phase.batches) batches.push_back(BatchJson(of));
  json::value overlap;
  if (phase.adjacent_overlap) overlap = *phase.adjacent_overlap;
  return {{"phase", Name(phase.phase)},
          {"sequences", phase.sequences},
          {"tokens", phase.tokens},
          {"unknown_rows", phase.unknown_rows},
          {"layers", std::move(layers)},
          {"adjacent_overlap_experts", std::move(overlap)},
          {"independent_overlap_experts", phase.independent_overlap},
          {"persistence", PersistenceJson(stats, phase)},
          {"batches", std::move(batches)}};
}

}  // namespace

std::string RenderText(const RoutingStats& stats) {
  const RoutingHeader& header = stats.header;
  std::string text = header.model + ": " + std::to_string(header.moe_layers.size()) +
                     " MoE layers, " + std::to_string(header.experts) + " experts, top-" +
                     std::to_string(header.top_k) + "; source: " + header.source + "\n\n";
  for (const PhaseRouting& phase : stats.phases) text += PhaseText(stats, phase);
  text += "Batches, seed " + std::to_string(stats.options.seed.seed) + ":\n";
  for (const BatchForming forming : kBatchFormings) {
    text += "  " + std::string(Name(forming)) + ": " + Sampling(forming, stats.options) + "\n";
  }
  return text + "  independent: E (1 - (1 - k/E)^B)\n";
}

std::string RenderJson(const RoutingStats& stats) {
  const RoutingHeader& header = stats.header;
  json::object sampling;
  for (const BatchForming forming : kBatchFormings) {
    sampling[Name(forming)] = Sampling(forming, stats.options);
  }
  json::array phases;
  for (const PhaseRouting& phase : stats.phases) phases.push_back(PhaseJson(stats, phase));
  const json::object root = {{"model", header.model},
                             {"source", header.source},
                             {"moe_layers", header.moe_layers.size()},
                             {"experts", header.experts},
                             {"top_k", header.top_k},
                             {"seed", stats.options.seed.seed},
                             {"sampling", std::move(sampling)},
                             {"phases", std::move(phases)}};
  return json::serialize(root) + "\n";
}

}  // namespace moecast
