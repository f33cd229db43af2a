// RenderValidation: the tables of a validation for a reader.
#include <map>

#include "sim/base/text.h"
#include "sim/validate/validation_files.h"

namespace moecast {
namespace {

constexpr double kMicroseconds = 1e6;
constexpr double kPercent = 100;

std::string Us(Seconds time) { return Fixed(time.count() * kMicroseconds, 1); }
std::string Percent(double ratio) { return Fixed(kPercent * ratio, 1); }

std::string MarkdownRow(const std::vector<std::string>& cells) {
  std::string row = "|";
  for (const std::string& cell : cells) row += " " + cell + " |";
  return row + "\n";
}

std::string MarkdownHead(const std::vector<std::string>& names) {
  return MarkdownRow(names) + MarkdownRow(std::vector<std::string>(names.size(), "---"));
}

std::string CaseTable(const Study& study, const Validation& validation) {
  std::map<std::pair<size_t, std::string_view>, double> figures;
  for (const FigureError& f : validation.figures) figures[{f.case_index, f.key}] = f.error();
  std::map<size_t, double> speedups;
  for (const SpeedupError& s : validation.speedups) speedups[s.case_index] = s.points();
  const auto cell = [](const auto& map, const auto& key, double scale) {
    const auto it = map.find(key);
    return it == map.end() ? std::string("-") : Fixed(scale * it->second, 1);
  };
  std::string text =
      MarkdownHead({"case", "steps", "step error mean %", "bias %", "p95 %", "throughput %",
                    "TTFT p50 %", "TTFT p99 %", "TPOT p50 %", "TPOT p99 %", "speed-up points"});
  for (const ErrorLine& line : validation.whole_cases) {
    const size_t i = line.case_index;
    const auto figure = [&](std::string_view key) {
      return cell(figures, std::pair{i, key}, kPercent);
    };
    text +=
        MarkdownRow({CaseName(study.cases[i]), std::to_string(line.error.count),
                     Percent(line.error.mean), Percent(line.error.bias), Percent(line.error.p95),
                     figure("output_tokens_per_s"), figure("ttft_median_ms"), figure("ttft_p99_ms"),
                     figure("tpot_median_ms"), figure("tpot_p99_ms"), cell(speedups, i, 1)});
  }
  return text;
}

std::string ErrorTable(const Study& study, std::string_view group,
                       const std::vector<ErrorLine>& lines) {
  std::string text = MarkdownHead({"case", std::string(group), "count", "predicted us",
                                   "executed us", "bias %", "mean %", "p95 %"});
  for (const ErrorLine& line : lines) {
    text +=
        MarkdownRow({CaseName(study.cases[line.case_index]), line.group,
                     std::to_string(line.error.count), Us(line.predicted), Us(line.executed),
                     Percent(line.error.bias), Percent(line.error.mean), Percent(line.error.p95)});
  }
  return text;
}

std::string CompositionTable(const Study& study, const Validation& validation) {
  std::string text = MarkdownHead(
      {"case", "steps", "sum of ops us", "sum of layers us", "whole step us", "ops %", "layers %"});
  for (const Composition& sum : validation.compositions) {
    const auto mean = [&](Seconds total) {
      return Us(Seconds(total.count() / static_cast<double>(sum.steps)));
    };
    text += MarkdownRow({CaseName(study.cases[sum.case_index]), std::to_string(sum.steps),
                         mean(sum.ops), mean(sum.layers), mean(sum.whole), Percent(sum.ops_error()),
                         Percent(sum.layers_error())});
  }
  return text;
}

std::string TimeTable(const Study& study, const std::vector<CaseSeconds>& times) {
  std::string text =
      MarkdownHead({"case", "opening s", "preparing s", "GPU s", "timing ops s", "all s"});
  for (size_t i = 0; i < times.size(); ++i) {
    const auto cell = [](Seconds time) { return Fixed(time.count(), 2); };
    const CaseSeconds& t = times[i];
    text += MarkdownRow({CaseName(study.cases[i]), cell(t.opening), cell(t.preparing), cell(t.gpu),
                         cell(t.timing_ops), cell(t.all)});
  }
  return text;
}

}  // namespace

std::string RenderValidation(const Study& study, const Validation& validation,
                             const ExecutedStudy& executed) {
  return "# " + study.name + ": predicted against executed on " + executed.device +
         "\n\nErrors are predicted / executed - 1.\n\n## Cases\n\n" + CaseTable(study, validation) +
         "\n## Steps\n\n" + ErrorTable(study, "kind of step", validation.steps) + "\n## Ops\n\n" +
         ErrorTable(study, "op", validation.ops) +
         "\n## Composition\n\nMeans over the steps whose ops were timed apart, against the same "
         "steps as they ran.\n\n" +
         CompositionTable(study, validation) +
         "\n## Wall time\n\nOf executing: weights and cache; inputs, algorithms and graphs of "
         "steps; "
         "the steps; ops and layers apart.\n\n" +
         TimeTable(study, executed.times);
}

}  // namespace moecast
