#include "reports/provenance.h"

#include <algorithm>
#include <map>
#include <type_traits>

#include "sim/base/fingerprint.h"
#include "sim/base/text.h"
#include "sim/base/version.h"

namespace moecast {
namespace {

void AddRun(const RunResult& run, RunTotals& totals) {
  for (size_t i = 0; i < totals.label_share.size(); ++i) {
    totals.label_share[i] += run.summary.by_label[i].count();
  }
  totals.arrived += run.summary.arrived;
  totals.rejected += run.summary.rejected;
  totals.beyond_positions += run.summary.beyond_positions;
  totals.requests.rows_read += run.requests.rows_read;
  totals.requests.rows_without_output += run.requests.rows_without_output;
  totals.requests.rows_with_prefix += run.requests.rows_with_prefix;
  totals.events += run.events;
  if (run.expert_totals.empty()) return;  // nothing was replayed
  totals.routing.prefill_rows += run.routing.prefill_rows;
  totals.routing.decode_rows += run.routing.decode_rows;
  totals.routing.wrapped_rows += run.routing.wrapped_rows;
  totals.routing.substituted_rows += run.routing.substituted_rows;
  totals.routing.unknown_rows += run.routing.unknown_rows;
  totals.routing.padding_rows += run.routing.padding_rows;
  std::vector<uint64_t>& steps = totals.routing.steps_by_rule;
  steps.resize(std::max(steps.size(), run.routing.steps_by_rule.size()));
  for (size_t i = 0; i < run.routing.steps_by_rule.size(); ++i) {
    steps[i] += run.routing.steps_by_rule[i];
  }
}

void SecondsToShares(RunTotals& totals) {
  double sum = 0;
  for (const double seconds : totals.label_share) sum += seconds;
  if (sum <= 0) return;
  for (double& share : totals.label_share) share /= sum;
}

constexpr double kPercent = 100;

std::string Percent(double ratio) { return Fixed(kPercent * ratio, 1) + " %"; }

std::string PercentOf(uint64_t part, uint64_t whole) {
  return Percent(static_cast<double>(part) / static_cast<double>(whole));
}

std::string Counted(int64_t count, const std::string& noun) {
  return std::to_string(count) + " " + noun + (count == 1 ? "" : "s");
}

std::string DescribeSynthetic(const SyntheticRouting& s) {
  return "generated: " + std::to_string(s.sequences) + " sequences of " +
         std::to_string(s.prefill_tokens) + " + " + std::to_string(s.decode_tokens) +
         " tokens, popularity spread " + ShortestDouble(s.popularity_spread) + ", " +
         Counted(s.topics, "topic") + " of strength " + ShortestDouble(s.topic_strength) +
         ", stickiness " + ShortestDouble(s.stickiness);
}

}  // namespace

RunTotals TotalsOf(const CaseResult& result) {
  RunTotals totals;
  for (const RunResult& run : result.replications) AddRun(run, totals);
  SecondsToShares(totals);
  return totals;
}

RunTotals TotalsOf(const StudyResult& result) {
  RunTotals totals;
  for (const CaseResult& c : result.cases) {
    for (const RunResult& run : c.replications) AddRun(run, totals);
  }
  SecondsToShares(totals);
  return totals;
}

uint64_t StudyFingerprint(const StudyResult& result) {
  Fingerprint fingerprint;
  for (const CaseResult& c : result.cases) {
    for (const RunResult& run : c.replications) fingerprint.Add(run.fingerprint);
  }
  return fingerprint.value();
}

Verdict WorstVerdict(const CaseResult& result) {
  Verdict worst = Verdict::kStable;
  for (const RunResult& run : result.replications) worst = std::max(worst, run.summary.verdict);
  return worst;
}

std::string_view VerdictName(Verdict verdict) {
  switch (verdict) {
    case Verdict::kStable:
      return "STABLE";
    case Verdict::kBacklogged:
      return "BACKLOGGED";
    case Verdict::kOverloaded:
      return "OVERLOADED";
    case Verdict::kNone:
      return "NONE";
  }
  SIM_CHECK(false);
}

std::string_view EndReasonName(EndReason reason) {
  switch (reason) {
    case EndReason::kDrained:
      return "drained";
    case EndReason::kHorizon:
      return "horizon";
    case EndReason::kTraceEnded:
      return "trace_ended";
  }
  SIM_CHECK(false);
}

std::string DescribeDeployment(const Scenario& scenario) {
  const Parallelism& p = scenario.parallelism;
  return Counted(scenario.replicas, "replica") + " x " + Counted(p.gpus(), "GPU") + " (TP " +
         std::to_string(p.tensor) + ", DP " + std::to_string(p.data) + ", EP " +
         std::to_string(p.expert) + ")";
}

std::string DescribeRouting(const Scenario& scenario) {
  if (!scenario.model.moe) return "none: a dense model";
  return std::visit(
      [](const auto& routing) -> std::string {
        using Kind = std::decay_t<decltype(routing)>;
        if constexpr (std::is_same_v<Kind, SyntheticRouting>) {
          return DescribeSynthetic(routing);
        } else if constexpr (std::is_same_v<Kind, ReplayRouting>) {
          return "replayed token by token from " + routing.path.filename().string();
        } else {
          static_assert(std::is_same_v<Kind, UniformRouting>);
          return "independent uniform, closed form: expectations, not draws";
        }
      },
      scenario.routing);
}

std::string DescribePrices(const Scenario& scenario) {
  const std::string profile =
      scenario.profile == nullptr ? "" : "profile '" + scenario.profile->name + "', ";
  return profile + "efficiencies '" + scenario.efficiencies.name + "'";
}

std::string MadeBy(const std::string& study_name) {
  return "moecast " + std::string(Version()) + " at commit " + std::string(GitCommit()) +
         " from scenario '" + study_name + "'";
}

std::string DescribeLabels(const RunTotals& totals) {
  std::string text;
  for (size_t i = 0; i < totals.label_share.size(); ++i) {
    if (totals.label_share[i] <= 0) continue;
    text += (text.empty() ? "" : ", ") + Percent(totals.label_share[i]) + " " +
            std::string(LabelName(static_cast<Label>(i)));
  }
  return text.empty() ? "no step was finished" : text;
}

std::vector<std::string> Caveats(const Scenario& scenario) {
  const WeightFormats& formats = scenario.model.formats;
  std::map<std::string, std::string> uses;  // by format: the tensors stored in it
  const auto use = [&](const TensorFormat& format, const char* tensors) {
    if (scenario.device.peak_of(format.compute).count() > 0) return;
    std::string& text = uses[format.name + " is not multiplied natively by " +
                             scenario.device.name + ": it is read as stored and dequantised to " +
                             std::string(ComputeClassName(UnitFor(format, scenario.device)))];
    text += (text.empty() ? "" : ", ") + std::string(tensors);
  };
  use(formats.attention, "attention");
  use(formats.dense_ffn, "dense blocks");
  if (formats.shared_experts) use(*formats.shared_experts, "shared experts");
  if (scenario.model.moe) use(formats.experts, "experts");
  if (formats.mix) use(formats.mix->format, "experts of the mix");
  use(formats.of_lm_head(), "LM head");
  std::vector<std::string> caveats;
  caveats.reserve(uses.size());
  for (const auto& [fact, tensors] : uses) {
    caveats.push_back(std::string(fact).append(" (").append(tensors).append(")"));
  }
  return caveats;
}

std::vector<std::string> Caveats(const RunTotals& totals) {
  std::vector<std::string> caveats;
  if (totals.rejected > 0) {
    caveats.push_back(std::to_string(totals.rejected) + " of " + std::to_string(totals.arrived) +
                      " requests were rejected, because the KV cache can never hold them: no "
                      "figure counts them");
  }
  if (totals.beyond_positions > 0) {
    caveats.push_back(std::to_string(totals.beyond_positions) + " of " +
                      std::to_string(totals.arrived) +
                      " requests are longer than the model's max_positions: an engine would refuse "
                      "or cut them, here they run to their end");
  }
  const RoutingNotes& r = totals.routing;
  const uint64_t rows = r.prefill_rows + r.decode_rows;
  if (r.wrapped_rows > 0) {
    caveats.push_back(PercentOf(r.wrapped_rows, rows) +
                      " of replayed token rows lie past the end of their trace sequence and start "
                      "again at its beginning");
  }
  if (r.substituted_rows > 0) {
    caveats.push_back(PercentOf(r.substituted_rows, rows) +
                      " of replayed token rows stand in for a phase that the trace does not hold");
  }
  if (r.unknown_rows > 0) {
    caveats.push_back(
        PercentOf(r.unknown_rows, rows) +
        " of replayed token rows are not recorded in the trace and cost no expert work");
  }
  if (totals.requests.rows_with_prefix > 0) {
    caveats.push_back(std::to_string(totals.requests.rows_with_prefix) +
                      " requests carry prefix hashes; prefix caching is not modelled, so every "
                      "prompt is computed in full");
  }
  if (totals.requests.rows_without_output > 0) {
    caveats.push_back(std::to_string(totals.requests.rows_without_output) +
                      " trace rows have no output tokens (failed requests) and were left out");
  }
  return caveats;
}

}  // namespace moecast
