#include "traces/routing_stats_report.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "sim/base/text.h"

namespace moecast {
namespace {

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

std::string SimilarityText(const SequenceSimilarity& of) {
  if (of.all.pairs == 0) return "";
  const auto part = [](const char* which, const PairSimilarity& pairs) {
    return which + Fixed(pairs.mean, 3) + " (" + std::to_string(pairs.pairs) + " pairs)";
  };
  std::string text = "Cosine similarity of the expert counts of two sequences, each of " +
                     std::to_string(of.sequences) + " with each: mean " + part("", of.all);
  if (of.within.pairs > 0) text += ", " + part("within a category ", of.within);
  if (of.between.pairs > 0) text += ", " + part("between categories ", of.between);
  return text + "\n\n";
}

std::string EntropyTable(const GateRouting& gates) {
  Columns table({"model layer", "rows", "mean", "p10", "p50", "p90"});
  for (const ScoreEntropy& of : gates.entropy) {
    table.Row({std::to_string(of.layer), std::to_string(of.rows), Fixed(of.mean, 3),
               Fixed(of.p10, 3), Fixed(of.p50, 3), Fixed(of.p90, 3)});
  }
  return "Entropy of a row's gate scores over its largest value ln k (1: all experts alike)\n" +
         table.text();
}

std::string KeptTable(const GateRouting& gates) {
  Columns table({"rule", "keep on average", "set", "to", "keeps", "gate mass kept"});
  std::string limits;
  for (const KeptCurve& curve : gates.curves) {
    const std::string rule = RuleLabel(curve);
    for (const RuleSetting& of : curve.settings) {
      const int digits = of.parameter == std::floor(of.parameter) ? 0 : 4;
      table.Row({rule, std::to_string(of.wanted), curve.parameter, Fixed(of.parameter, digits),
                 Fixed(of.mean_kept, 3), Fixed(of.kept_mass, 4)});
    }
    if (curve.fewest > 1) {
      limits += rule + " keeps at least " + Fixed(curve.fewest, 3) + " on average\n";
    }
  }
  return "To keep fewer experts: the tightest parameter that keeps as many on average\n" +
         table.text() + limits + "ratio_to_best is aset_derived with penalty 0\n";
}

std::string GateText(const RoutingStats& stats, const PhaseRouting& phase) {
  if (!stats.header.has_scores) {
    return "The trace has no gate scores: no entropy, and no rule that needs scores\n";
  }
  if (!phase.gates) return "No row has gate scores above 0\n";
  return "Gate scores, " + std::to_string(phase.gates->rows) + " (token, layer) rows of " +
         "evenly spaced tokens, at most " + std::to_string(kMaxGateScores) + " scores\n" +
         EntropyTable(*phase.gates) + "\n" + KeptTable(*phase.gates);
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
         PersistenceTable(stats, phase) + "\n" + SimilarityText(phase.similarity) +
         GateText(stats, phase) + "\n";
}

}  // namespace

std::string_view Name(RoutingPhase phase) {
  return phase == RoutingPhase::kPrefill ? "prefill" : "decode";
}

std::string_view Name(BatchForming forming) {
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

std::string RuleLabel(const KeptCurve& curve) {
  return curve.penalty ? curve.rule + " " + ShortestDouble(*curve.penalty) : curve.rule;
}

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

}  // namespace moecast
