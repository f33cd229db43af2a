#include "reports/proxies.h"

#include <cmath>
#include <optional>

#include "reports/text_table.h"
#include "scenarios/kv_errors.h"
#include "sim/base/text.h"

namespace moecast {
namespace {

constexpr int kDigits = 3;

/// What rules do is told of the model's own experts, and pruning leaves others.
bool HasOwnExperts(const Scenario& scenario) {
  return scenario.model.moe.has_value() && !scenario.pruning;
}

std::string Cell(std::optional<double> value) {
  return value && !std::isnan(*value) ? Fixed(*value, kDigits) : "missing";
}

/// Whether the case's experts or cache are not the model's own.
bool IsChanged(const Scenario& scenario) {
  const std::string kv = DescribeKv(PlanKv(scenario.kv, scenario.model));
  const bool experts = scenario.model.moe && (scenario.pruning || !scenario.experts.IsNative());
  return experts || (kv != "bf16" && kv != "mla_bf16");
}

}  // namespace

std::string RenderProxies(const Study& study, const StudyResult& result) {
  using Align = TextTable::Align;
  TextTable table;
  const bool loads = !study.cases.front().load.empty();
  if (loads) table.AddColumn(Align::kLeft, {"load", ""});
  table.AddColumn(Align::kLeft, {"variant", ""});
  table.AddColumn(Align::kRight, {"gate mass", "kept"});
  table.AddColumn(Align::kRight, {"sets", "changed"});
  table.AddColumn(Align::kRight, {"experts", "changed"});
  table.AddColumn(Align::kRight, {"cache error", "output"});
  bool any = false;
  for (size_t i = 0; i < study.cases.size(); ++i) {
    const StudyCase& c = study.cases[i];
    const CaseResult& cell = result.cases[i];
    any = any || IsChanged(c.scenario);
    std::vector<std::string> row;
    if (loads) row.push_back(c.load);
    row.push_back(c.variant);
    for (const double value : {cell.selection.kept_gate_mass, cell.selection.changed_share,
                               cell.selection.changed_experts}) {
      row.push_back(!c.scenario.model.moe       ? "-"
                    : HasOwnExperts(c.scenario) ? Cell(value)
                                                : "missing");
    }
    row.push_back(Cell(cell.kv_output_error));
    table.AddRow(std::move(row));
  }
  if (!any) return {};
  return table.Text() +
         "\nProxies, not quality: of the trace, the share of native gate scores that is computed, "
         "the\n"
         "share of (token, layer) expert sets that differ and how many experts of a set are gone; "
         "of\n"
         "the cache, the error of attention on " +
         std::string(KvErrors::kData) + " heads. They are never combined.\n";
}

}  // namespace moecast
