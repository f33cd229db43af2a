#include "reports/csv_files.h"

#include <string_view>
#include <vector>

#include "reports/figures.h"
#include "reports/provenance.h"
#include "sim/base/text.h"
#include "sim/run/build.h"

namespace moecast {
namespace {

std::string Cell(int64_t value) { return std::to_string(value); }
std::string Cell(uint64_t value) { return std::to_string(value); }
std::string Cell(double value) { return ShortestDouble(value); }

/// RFC 4180: quoted when it holds a comma, a quote or a line break.
std::string Cell(std::string_view text) {
  if (text.find_first_of(",\"\r\n") == std::string_view::npos) return std::string(text);
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}
std::string Cell(const std::string& text) { return Cell(std::string_view(text)); }

template <class First, class... Rest>
std::string Row(const First& first, const Rest&... rest) {
  std::string row = Cell(first);
  ((row += "," + Cell(rest)), ...);
  return row + "\n";
}

/// Assignments per [moe_layer][expert], summed over replications.
std::vector<uint64_t> ExpertTotals(const CaseResult& result) {
  std::vector<uint64_t> totals;
  for (const RunResult& run : result.replications) {
    totals.resize(run.expert_totals.size());
    for (size_t i = 0; i < totals.size(); ++i) totals[i] += run.expert_totals[i];
  }
  return totals;
}

std::string TableHeader() {
  std::string header =
      "study,load,variant,model,gpu,replicas,gpus,tp,dp,ep,seed,replications,verdict";
  for (const Figure& figure : Figures()) header += "," + std::string(figure.key);
  for (const Figure& figure : Figures()) header += "," + std::string(figure.key) + "_half_width_95";
  for (const Figure& figure : Figures()) header += "," + std::string(figure.key) + "_ratio";
  return header + "\n";
}

std::string EstimateCells(const std::vector<Estimate>& estimates) {
  std::string cells;
  for (const Estimate& e : estimates) cells += "," + (e.value ? Cell(e.value->mean) : "");
  for (const Estimate& e : estimates) {
    cells += "," + (e.value && e.value->samples > 1 ? Cell(e.value->half_width) : "");
  }
  for (const Estimate& e : estimates) cells += "," + (e.ratio ? Cell(*e.ratio) : "");
  return cells + "\n";
}

}  // namespace

std::string TimeSeriesCsv(std::span<const TimeSample> samples) {
  std::string text =
      "time_s,running_requests,waiting_requests,kv_used_ratio,arrived,finished,output_tokens,"
      "prefill_tokens,steps,preemptions\n";
  for (const TimeSample& s : samples) {
    text += Row(ToSeconds(s.at), s.running_requests, s.waiting_requests, s.kv_used_ratio, s.arrived,
                s.finished, s.output_tokens, s.prefill_tokens, s.steps, s.preemptions);
  }
  return text;
}

std::string ExpertsCsv(const Scenario& scenario, const CaseResult& result) {
  const std::vector<uint64_t> totals = ExpertTotals(result);
  if (totals.empty()) return {};
  const std::vector<int32_t> layers = MoeLayerIndices(scenario.model);
  const auto experts = static_cast<size_t>(scenario.model.moe->experts);
  const size_t experts_per_rank = experts / static_cast<size_t>(scenario.parallelism.expert);
  SIM_CHECK(totals.size() == layers.size() * experts);
  std::string text = "moe_layer,layer,expert,rank,assignments,share\n";
  for (size_t layer = 0; layer < layers.size(); ++layer) {
    const auto counts = std::span(totals).subspan(layer * experts, experts);
    uint64_t sum = 0;
    for (const uint64_t count : counts) sum += count;
    for (size_t expert = 0; expert < experts; ++expert) {
      const double share =
          sum == 0 ? 0 : static_cast<double>(counts[expert]) / static_cast<double>(sum);
      text += Row(static_cast<uint64_t>(layer), static_cast<int64_t>(layers[layer]),
                  static_cast<uint64_t>(expert), static_cast<uint64_t>(expert / experts_per_rank),
                  counts[expert], share);
    }
  }
  return text;
}

std::string TableCsv(const Study& study, const StudyResult& result) {
  std::string text = TableHeader();
  for (const CaseFigures& row : EstimateFigures(study, result)) {
    const StudyCase& c = study.cases[row.case_index];
    const Scenario& s = c.scenario;
    std::string head = Row(study.name, c.load, c.variant, s.model.name, s.device.name, s.replicas,
                           s.replicas * s.parallelism.gpus(), s.parallelism.tensor,
                           s.parallelism.data, s.parallelism.expert, s.seed, s.replications,
                           VerdictName(WorstVerdict(result.cases[row.case_index])));
    head.pop_back();  // the row goes on
    text += head + EstimateCells(row.estimates);
  }
  return text;
}

}  // namespace moecast
