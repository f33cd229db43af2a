#include "reports/console.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "reports/figures.h"
#include "reports/intervals.h"
#include "reports/offered_load.h"
#include "reports/provenance.h"
#include "reports/text_table.h"
#include "sim/base/text.h"

namespace moecast {
namespace {

using Align = TextTable::Align;

/// Which figures also show their ratio to the first variant.
constexpr std::string_view kThroughput = "output_tokens_per_s";
constexpr std::string_view kTpot = "tpot_median_ms";
constexpr int kRatioDigits = 2;

std::string ValueCell(const Figure& figure, const Estimate& estimate) {
  return estimate.value ? Fixed(estimate.value->mean, figure.digits) : "-";
}

std::string HalfWidthCell(const Figure& figure, const Estimate& estimate) {
  return estimate.value ? "±" + Fixed(estimate.value->half_width, figure.digits) : "";
}

std::string RatioCell(const Estimate& estimate) {
  if (!estimate.ratio) return "-";
  const bool noise = estimate.distinguishable.has_value() && !*estimate.distinguishable;
  return (noise ? "~x" : "x") + Fixed(*estimate.ratio, kRatioDigits);
}

/// Figures that this study shows: those with a console title and a value in some case.
std::vector<size_t> ShownFigures(const std::vector<CaseFigures>& cases) {
  std::vector<size_t> shown;
  for (size_t f = 0; f < Figures().size(); ++f) {
    const bool any = std::any_of(cases.begin(), cases.end(), [f](const CaseFigures& c) {
      return c.estimates[f].value.has_value();
    });
    if (any && !Figures()[f].title.empty()) shown.push_back(f);
  }
  return shown;
}

void AddColumns(const Study& study, const std::vector<size_t>& shown, TextTable& table) {
  if (!study.cases.front().load.empty()) table.AddColumn(Align::kLeft, {"load", ""});
  table.AddColumn(Align::kLeft, {"variant", ""});
  for (const size_t f : shown) {
    table.AddColumn(Align::kRight,
                    {std::string(Figures()[f].title), std::string(Figures()[f].unit)});
  }
  table.AddColumn(Align::kRight, {"output", "ratio"});
  table.AddColumn(Align::kRight, {"TPOT", "ratio"});
  table.AddColumn(Align::kLeft, {"verdict", ""});
}

void AddCase(const Study& study, const StudyResult& result, const CaseFigures& c,
             const std::vector<size_t>& shown, TextTable& table) {
  const StudyCase& cell = study.cases[c.case_index];
  const bool has_loads = !study.cases.front().load.empty();
  std::vector<std::string> values;
  std::vector<std::string> widths;
  if (has_loads) {
    values.push_back(c.case_index == c.first_index ? cell.load : "");
    widths.emplace_back();
  }
  values.push_back(cell.variant);
  widths.emplace_back();
  for (const size_t f : shown) {
    values.push_back(ValueCell(Figures()[f], c.estimates[f]));
    widths.push_back(HalfWidthCell(Figures()[f], c.estimates[f]));
  }
  values.push_back(RatioCell(c.estimates[FigureIndex(kThroughput)]));
  values.push_back(RatioCell(c.estimates[FigureIndex(kTpot)]));
  values.emplace_back(VerdictName(WorstVerdict(result.cases[c.case_index])));
  widths.resize(values.size());
  table.AddRow(std::move(values));
  if (cell.scenario.replications > 1) table.AddRow(std::move(widths));
}

std::string MemoryLine(const MemoryPlan& plan) {
  return HumanBytes(plan.weights.count()) + " weights + " + HumanBytes(plan.reserved.count()) +
         " reserved + " + HumanBytes(plan.kv_budget.count()) +
         " KV per GPU = " + std::to_string(plan.kv_tokens) + " cached tokens";
}

/// "name: text" with the texts of all cases; a text that differs between cases is listed once each,
/// with the first case that has it.
template <class Describe>
std::string FactLine(const std::string& name, const Study& study, Describe describe) {
  std::vector<std::pair<std::string, std::string>> texts;  // text, first case
  for (size_t i = 0; i < study.cases.size(); ++i) {
    const std::string text = describe(i);
    const bool known = std::any_of(texts.begin(), texts.end(),
                                   [&text](const auto& entry) { return entry.first == text; });
    if (!known) texts.emplace_back(text, study.cases[i].variant);
  }
  constexpr size_t kNameWidth = 13;
  std::string lines;
  for (const auto& [text, variant] : texts) {
    std::string head = lines.empty() ? name : "";
    head.resize(kNameWidth, ' ');
    lines += head + text + (texts.size() > 1 ? "  (" + variant + ")" : "") + "\n";
  }
  return lines;
}

/// "30.5 B", or "216 M" below a billion.
std::string CountText(double count) {
  constexpr double kMillion = 1e6;
  constexpr double kBillion = 1e9;
  return count < kBillion ? Fixed(count / kMillion, 0) + " M" : Fixed(count / kBillion, 1) + " B";
}

/// "bf16 KV", or "kivi2 KV (3.00 bits stored, 3.00 read, 2.00 equivalent)".
std::string KvText(const Scenario& scenario) {
  const KvPlan plan = PlanKv(scenario.kv, scenario.model);
  const KvBits bits =
      BitsOf(plan.stores.front(), KvElementsOf(scenario.model, scenario.parallelism.tensor));
  std::string text = DescribeKv(plan) + " KV";
  if (bits.stored == bits.equivalent) return text;
  constexpr int kDigits = 2;
  return text + " (" + Fixed(bits.stored, kDigits) + " bits stored, " + Fixed(bits.read, kDigits) +
         " read, " + Fixed(bits.equivalent, kDigits) + " equivalent)";
}

std::string ModelText(const Scenario& scenario) {
  const ParameterCount parameters = CountParameters(scenario.model);
  const std::string change = scenario.change.empty() ? "" : " changed by " + scenario.change;
  std::string text = scenario.model.name + change + ", " + CountText(parameters.total) +
                     " parameters (" + CountText(parameters.active) + " active), ";
  const WeightFormats& formats = scenario.model.formats;
  if (scenario.model.moe) text += formats.experts.name + " experts, ";
  return text + formats.attention.name + " attention, " + KvText(scenario);
}

/// Those of the runs, then those of the scenarios, each once.
std::vector<std::string> AllCaveats(const Study& study, const StudyResult& result) {
  std::vector<std::string> all = Caveats(TotalsOf(result));
  if (auto caveat = ShortRunCaveat(study, result)) all.push_back(std::move(*caveat));
  for (const StudyCase& c : study.cases) {
    for (const std::string& caveat : Caveats(c.scenario)) {
      if (std::find(all.begin(), all.end(), caveat) == all.end()) all.push_back(caveat);
    }
  }
  return all;
}

std::string SeedText(const Scenario& scenario) {
  return std::to_string(scenario.seed) + ", " + std::to_string(scenario.replications) +
         (scenario.replications == 1 ? " replication" : " replications") +
         ", common random numbers across variants";
}

}  // namespace

std::string RenderTable(const Study& study, const StudyResult& result) {
  const std::vector<CaseFigures> cases = EstimateFigures(study, result);
  const std::vector<size_t> shown = ShownFigures(cases);
  TextTable table;
  AddColumns(study, shown, table);
  bool replicated = false;
  for (const CaseFigures& c : cases) {
    if (c.case_index > 0 && c.case_index == c.first_index) table.AddGap();
    AddCase(study, result, c, shown, table);
    replicated = replicated || study.cases[c.case_index].scenario.replications > 1;
  }
  std::string text = table.Text();
  if (replicated) {
    text +=
        "\n±: 95 % confidence half width over replications (Student t). ~: the difference to the "
        "first variant, paired by replication, is not distinguishable from none at 95 %.\n";
  }
  return text + RenderIntervals(study, cases, shown);
}

std::string RenderProvenance(const Study& study, const StudyResult& result) {
  const auto scenario = [&study](size_t i) -> const Scenario& { return study.cases[i].scenario; };
  const RunTotals totals = TotalsOf(result);
  std::string text = FactLine("model", study, [&](size_t i) { return ModelText(scenario(i)); });
  text += FactLine("hardware", study, [&](size_t i) {
    return DescribeDeployment(scenario(i)) + " on " + scenario(i).device.name +
           (scenario(i).parallelism.gpus() > 1 ? " over " + scenario(i).fabric.name : "");
  });
  text += FactLine("memory", study, [&](size_t i) { return MemoryLine(result.cases[i].memory); });
  text += FactLine("routing", study, [&](size_t i) { return DescribeRouting(scenario(i)); });
  text += FactLine("step times", study, [&](size_t i) {
    return DescribeLabels(totals) + " (" + DescribePrices(scenario(i)) + ")";
  });
  text += FactLine("seed", study, [&](size_t i) { return SeedText(scenario(i)); });
  text += FactLine("made by", study, [&](size_t) { return MadeBy(study.name); });
  text += FactLine("fingerprint", study, [&](size_t) { return Hex64(StudyFingerprint(result)); });
  for (const std::string& caveat : AllCaveats(study, result)) {
    text += FactLine("note", study, [&](size_t) { return caveat; });
  }
  return text;
}

}  // namespace moecast
