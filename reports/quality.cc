#include "reports/quality.h"

#include <boost/json/object.hpp>
#include <set>
#include <utility>

#include "reports/text_table.h"
#include "sim/base/text.h"

namespace moecast {
namespace {

constexpr int kDigits = 2;

std::string ValueText(const QualityFinding& finding) {
  std::string text = Fixed(finding.value, kDigits);
  if (finding.standard_error) text += " ±" + Fixed(*finding.standard_error, kDigits);
  return text + " " + finding.unit;
}

void AddRows(const StudyCase& c, TextTable& table) {
  if (c.quality.empty()) {
    table.AddRow({c.variant, "missing", "", "", "", "no measurement of this policy is known"});
  }
  std::string variant = c.variant;
  for (const QualityFinding& finding : c.quality) {
    table.AddRow({std::exchange(variant, ""), std::string(TaskFamilyName(finding.family)),
                  finding.task, ValueText(finding),
                  finding.native_value ? Fixed(*finding.native_value, kDigits) : "-",
                  finding.source});
  }
}

/// Whether something was done to the model that may cost quality.
bool IsChanged(const Scenario& scenario) {
  const std::string kv = DescribeKv(PlanKv(scenario.kv, scenario.model));
  return !scenario.experts.IsNative() || !scenario.change.empty() ||
         (kv != "bf16" && kv != "mla_bf16");
}

}  // namespace

std::string RenderQuality(const Study& study) {
  using Align = TextTable::Align;
  TextTable table;
  table.AddColumn(Align::kLeft, {"variant"});
  table.AddColumn(Align::kLeft, {"quality"});
  table.AddColumn(Align::kLeft, {"task"});
  table.AddColumn(Align::kRight, {"value"});
  table.AddColumn(Align::kRight, {"unchanged"});
  table.AddColumn(Align::kLeft, {"source"});
  bool any = false;
  std::set<std::string> told;
  for (const StudyCase& c : study.cases) {
    if (!told.insert(c.variant).second) continue;
    any = any || !c.quality.empty() || IsChanged(c.scenario);
    AddRows(c, table);
  }
  if (!any) return {};
  return table.Text() +
         "\nQuality is looked up, never modelled; values of two kinds of task are not "
         "comparable.\n";
}

boost::json::array QualityJson(const StudyCase& c) {
  boost::json::array findings;
  for (const QualityFinding& finding : c.quality) {
    boost::json::object out = {{"family", TaskFamilyName(finding.family)},
                               {"task", finding.task},
                               {"value", finding.value},
                               {"unit", finding.unit}};
    if (finding.standard_error) out["standard_error"] = *finding.standard_error;
    if (finding.native_value) out["unchanged_value"] = *finding.native_value;
    out["source"] = finding.source;
    if (!finding.note.empty()) out["note"] = finding.note;
    findings.push_back(std::move(out));
  }
  return findings;
}

}  // namespace moecast
