#include "reports/summary_json.h"

#include <boost/json.hpp>
#include <string>
#include <string_view>
#include <type_traits>

#include "reports/offered_load.h"
#include "reports/provenance.h"
#include "reports/quality.h"
#include "sim/base/files.h"
#include "sim/base/text.h"
#include "sim/base/version.h"

namespace moecast {
namespace {

using boost::json::array;
using boost::json::object;
using boost::json::value;

/// Mean of `of(summary)` over replications, in order.
template <class Of>
double MeanOf(const CaseResult& result, Of of) {
  double sum = 0;
  for (const RunResult& run : result.replications) sum += of(run.summary);
  return sum / static_cast<double>(result.replications.size());
}

template <class Of>
uint64_t SumOf(const CaseResult& result, Of of) {
  uint64_t sum = 0;
  for (const RunResult& run : result.replications) sum += of(run.summary);
  return sum;
}

/// Offered traffic, in `vllm bench serve`'s terms.
struct Traffic {
  value request_rate;     // requests/s; "inf" for a closed loop; null: as the trace says
  value burstiness;       // shape of the gamma law of gaps: 1 is Poisson
  value max_concurrency;  // of a closed loop
};

Traffic DescribeArrivals(const Arrivals& arrivals) {
  if (const auto* closed = std::get_if<ClosedLoop>(&arrivals)) {
    return {"inf", 1.0, closed->concurrency};
  }
  if (const auto* gamma = std::get_if<GammaArrivals>(&arrivals)) {
    return {nullptr, 1.0 / (gamma->cv * gamma->cv), nullptr};
  }
  if (std::holds_alternative<PoissonArrivals>(arrivals)) return {nullptr, 1.0, nullptr};
  return {nullptr, nullptr, nullptr};
}

Traffic DescribeTraffic(const WorkloadSpec& workload) {
  if (const auto* synthetic = std::get_if<SyntheticWorkload>(&workload)) {
    Traffic traffic = DescribeArrivals(synthetic->arrivals);
    if (const std::optional<double> rate = OfferedRate(workload)) traffic.request_rate = *rate;
    return traffic;
  }
  const auto& trace = std::get<TraceWorkload>(workload);
  if (trace.closed_concurrency) return {"inf", nullptr, *trace.closed_concurrency};
  return {nullptr, nullptr, nullptr};
}

void AddLatency(const CaseResult& result, std::string_view name, Latency Summary::*latency,
                object& out) {
  struct Statistic {
    std::string_view name;
    double Latency::*field;
  };
  constexpr Statistic kStatistics[] = {{"mean", &Latency::mean}, {"median", &Latency::median},
                                       {"std", &Latency::std},   {"p90", &Latency::p90},
                                       {"p95", &Latency::p95},   {"p99", &Latency::p99}};
  constexpr double kMsPerSecond = 1e3;
  for (const Statistic& statistic : kStatistics) {
    const std::string key = std::string(statistic.name) + "_" + std::string(name) + "_ms";
    const bool known = SumOf(result, [&](const Summary& s) { return (s.*latency).count; }) > 0;
    out[key] =
        known
            ? value(kMsPerSecond *
                    MeanOf(result, [&](const Summary& s) { return s.*latency.*(statistic.field); }))
            : value(nullptr);
  }
}

object BenchServeKeys(const StudyCase& c, const CaseResult& result) {
  const Traffic traffic = DescribeTraffic(c.scenario.workload);
  object out;
  out["backend"] = "moecast";
  out["label"] = c.load.empty() ? c.variant : c.variant + "@" + c.load;
  out["model_id"] = c.scenario.model.name;
  out["num_prompts"] = SumOf(result, [](const Summary& s) { return s.arrived; });
  out["request_rate"] = traffic.request_rate;
  out["burstiness"] = traffic.burstiness;
  out["max_concurrency"] = traffic.max_concurrency;
  const auto runs = static_cast<double>(result.replications.size());
  out["duration"] = runs * MeanOf(result, [](const Summary& s) { return s.window.count(); });
  out["completed"] = SumOf(result, [](const Summary& s) { return s.measured; });
  out["failed"] = SumOf(result, [](const Summary& s) { return s.rejected; });
  out["total_input_tokens"] =
      SumOf(result, [](const Summary& s) { return s.measured_input_tokens; });
  out["total_output_tokens"] =
      SumOf(result, [](const Summary& s) { return s.measured_output_tokens; });
  out["request_throughput"] = MeanOf(result, [](const Summary& s) { return s.request_throughput; });
  if (c.scenario.slo.any()) {
    out["request_goodput"] = MeanOf(result, [](const Summary& s) { return s.goodput.value_or(0); });
  }
  out["output_throughput"] = MeanOf(result, [](const Summary& s) { return s.output_throughput; });
  out["total_token_throughput"] =
      MeanOf(result, [](const Summary& s) { return s.total_throughput; });
  AddLatency(result, "ttft", &Summary::ttft, out);
  AddLatency(result, "tpot", &Summary::tpot, out);
  AddLatency(result, "itl", &Summary::itl, out);
  AddLatency(result, "e2el", &Summary::e2e, out);
  return out;
}

object MemoryJson(const MemoryPlan& plan) {
  return {{"weights_bytes_per_gpu", plan.weights.count()},
          {"reserved_bytes_per_gpu", plan.reserved.count()},
          {"kv_budget_bytes_per_gpu", plan.kv_budget.count()},
          {"kv_bytes_per_token_per_gpu", plan.kv_bytes_per_token},
          {"state_bytes_per_sequence_per_gpu", plan.state_bytes_per_sequence},
          {"kv_window_bytes_per_sequence_per_gpu", plan.kv_bytes_per_sequence},
          {"kv_stored_bits", plan.kv_bits.stored},
          {"kv_read_bits", plan.kv_bits.read},
          {"kv_equivalent_bits", plan.kv_bits.equivalent},
          {"kv_tokens_per_group", plan.kv_tokens}};
}

object RoutingJson(const Scenario& scenario, const SelectionNotes& selection,
                   const RoutingNotes& notes) {
  const bool replayed = std::holds_alternative<ReplayRouting>(scenario.routing);
  return {{"source", DescribeRouting(scenario)},
          {"level", replayed ? "token" : "generated"},
          {"native_top_k", selection.native_top_k},
          {"mean_kept_experts", selection.mean_kept},
          {"kept_gate_mass", selection.kept_gate_mass},
          {"changed_set_share", selection.changed_share},
          {"changed_experts", selection.changed_experts},
          {"prefill_rows", notes.prefill_rows},
          {"decode_rows", notes.decode_rows},
          {"wrapped_rows", notes.wrapped_rows},
          {"substituted_rows", notes.substituted_rows},
          {"unknown_rows", notes.unknown_rows},
          {"padding_rows", notes.padding_rows},
          {"completed_share", selection.completed_share},
          {"steps_by_rule", array(notes.steps_by_rule.begin(), notes.steps_by_rule.end())}};
}

object LabelsJson(const RunTotals& totals) {
  object out;
  for (size_t i = 0; i < totals.label_share.size(); ++i) {
    out[LabelName(static_cast<Label>(i))] = totals.label_share[i];
  }
  return out;
}

object RunJson(const RunResult& run) {
  const Summary& s = run.summary;
  return {{"fingerprint", Hex64(run.fingerprint)},
          {"verdict", VerdictName(s.verdict)},
          {"end_reason", EndReasonName(run.end_reason)},
          {"end_s", ToSeconds(run.end)},
          {"events", run.events},
          {"steps", s.steps},
          {"preemptions", s.preemptions},
          {"arrived", s.arrived},
          {"finished", s.finished},
          {"rejected", s.rejected},
          {"unfinished", s.unfinished},
          {"beyond_positions", s.beyond_positions},
          {"measured", s.measured},
          {"exact_percentiles", s.ttft.exact && s.tpot.exact && s.itl.exact && s.e2e.exact},
          {"busy_s", s.busy.count()},
          {"step_seconds",
           {{"attention", s.attention.count()},
            {"experts", s.experts.count()},
            {"dense", s.dense.count()},
            {"collectives", s.collectives.count()},
            {"host", s.host.count()}}},
          {"kv_write",
           {{"seconds", s.cache_writes.count()},
            {"most_seconds_in_a_step", s.most_cache_writes.count()},
            {"converted_tokens", s.converted_tokens}}}};
}

array RangeJson(const Range& range) { return {range.low, range.high}; }

/// Every figure: {"mean", "half_width_95", "samples", "ratio_to_first", "interval_80",
/// "interval_95", "distinguishable"}.
object FiguresJson(const CaseFigures& figures) {
  object out;
  for (size_t f = 0; f < Figures().size(); ++f) {
    const Estimate& estimate = figures.estimates[f];
    object entry;
    entry["mean"] = estimate.value ? value(estimate.value->mean) : value(nullptr);
    if (estimate.value && estimate.value->samples > 1) {
      entry["half_width_95"] = estimate.value->half_width;
      entry["samples"] = estimate.value->samples;
    }
    if (estimate.ratio && figures.case_index != figures.first_index) {
      entry["ratio_to_first"] = *estimate.ratio;
    }
    if (estimate.range80) entry["interval_80"] = RangeJson(*estimate.range80);
    if (estimate.range95) entry["interval_95"] = RangeJson(*estimate.range95);
    if (estimate.distinguishable) entry["distinguishable_from_first"] = *estimate.distinguishable;
    out[Figures()[f].key] = std::move(entry);
  }
  return out;
}

object ProvenanceJson(const Study& study) {
  array inputs;
  for (const InputFile& input : study.inputs) {
    inputs.push_back(object{{"file", input.path.filename().string()}, {"sha256", input.sha256}});
  }
  return {{"version", Version()},
          {"commit", GitCommit()},
          {"scenario", study.name},
          {"resolved_scenario_sha256", Sha256(study.resolved_yaml)},
          {"inputs", std::move(inputs)}};
}

}  // namespace

value CaseSummaryJson(const Study& study, const StudyResult& result, const CaseFigures& figures) {
  const StudyCase& c = study.cases[figures.case_index];
  const CaseResult& cell = result.cases[figures.case_index];
  const RunTotals totals = TotalsOf(cell);
  array runs;
  for (const RunResult& run : cell.replications) runs.push_back(RunJson(run));
  array caveats;
  for (const std::string& caveat : Caveats(totals)) caveats.emplace_back(caveat);
  if (const auto caveat = ShortRunCaveat(c, cell)) caveats.emplace_back(*caveat);
  for (const std::string& caveat : Caveats(c.scenario)) caveats.emplace_back(caveat);
  object out = BenchServeKeys(c, cell);
  out["moecast"] = {{"variant", c.variant},
                    {"load", c.load},
                    {"verdict", VerdictName(WorstVerdict(cell))},
                    {"deployment", DescribeDeployment(c.scenario)},
                    {"gpu", c.scenario.device.name},
                    {"seed", c.scenario.seed},
                    {"label_share_of_step_time", LabelsJson(totals)},
                    {"memory", MemoryJson(cell.memory)},
                    {"routing", RoutingJson(c.scenario, cell.selection, totals.routing)},
                    {"figures", FiguresJson(figures)},
                    {"quality", QualityJson(c)},
                    {"runs", std::move(runs)},
                    {"caveats", std::move(caveats)},
                    {"provenance", ProvenanceJson(study)}};
  return out;
}

value StudySummaryJson(const Study& study, const StudyResult& result) {
  array cases;
  for (const CaseFigures& figures : EstimateFigures(study, result)) {
    const StudyCase& c = study.cases[figures.case_index];
    cases.push_back(object{{"variant", c.variant},
                           {"load", c.load},
                           {"verdict", VerdictName(WorstVerdict(result.cases[figures.case_index]))},
                           {"figures", FiguresJson(figures)}});
  }
  return object{{"provenance", ProvenanceJson(study)},
                {"fingerprint", Hex64(StudyFingerprint(result))},
                {"cases", std::move(cases)}};
}

}  // namespace moecast
