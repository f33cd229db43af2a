#include "sim/validate/validation_files.h"

#include <string_view>

#include "sim/base/text.h"

namespace moecast {
namespace {

constexpr double kMicroseconds = 1e6;
constexpr double kPercent = 100;

std::string Cell(int64_t value) { return std::to_string(value); }
std::string Cell(double value) { return ShortestDouble(value); }
std::string Cell(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}
std::string Cell(Seconds time) { return Fixed(time.count() * kMicroseconds, 3); }

template <class First, class... Rest>
std::string Row(const First& first, const Rest&... rest) {
  std::string row = Cell(first);
  ((row += "," + Cell(rest)), ...);
  return row + "\n";
}

}  // namespace

std::string CasesCsv(const Study& study, const ExecutedStudy& executed) {
  std::string text = std::string(kCasesHeader) + "\n";
  for (size_t i = 0; i < executed.times.size(); ++i) {
    const CaseSeconds& t = executed.times[i];
    text += Row(std::string_view(CaseName(study.cases[i])), std::string_view(executed.device),
                t.opening.count(), t.preparing.count(), t.gpu.count(), t.timing_ops.count(),
                t.all.count());
  }
  return text;
}

std::string StepsCsv(const Study& study, const std::vector<StepComparison>& steps) {
  std::string text = std::string(kStepsHeader) + "\n";
  for (const StepComparison& s : steps) {
    Seconds ops;
    for (const OpComparison& op : s.ops) ops += op.executed;
    text += Row(std::string_view(CaseName(study.cases[s.case_index])), s.step, s.decode_sequences,
                s.decode_context, s.prefill_tokens, s.prefill_context, s.rows,
                static_cast<int64_t>(s.graph), Hex64(s.work), s.predicted, s.executed,
                kPercent * (s.predicted / s.executed - 1), s.sm_mhz, s.host, s.attention, s.experts,
                s.dense, ops, s.layers);
  }
  return text;
}

std::string OpsCsv(const Study& study, const std::vector<StepComparison>& steps) {
  std::string text = std::string(kOpsHeader) + "\n";
  for (const StepComparison& s : steps) {
    for (const OpComparison& op : s.ops) {
      text += Row(std::string_view(CaseName(study.cases[s.case_index])), s.step,
                  std::string_view(op.op), op.predicted, op.executed);
    }
  }
  return text;
}

std::string ErrorLinesCsv(const Study& study, const std::vector<ErrorLine>& lines) {
  std::string text =
      "case,group,count,predicted_us,executed_us,bias_percent,mean_error_percent,"
      "median_error_percent,p95_error_percent\n";
  for (const ErrorLine& line : lines) {
    text +=
        Row(std::string_view(CaseName(study.cases[line.case_index])), std::string_view(line.group),
            line.error.count, line.predicted, line.executed, kPercent * line.error.bias,
            kPercent * line.error.mean, kPercent * line.error.median, kPercent * line.error.p95);
  }
  return text;
}

std::string FigureErrorsCsv(const Study& study, const Validation& validation) {
  std::string text = "case,figure,predicted,executed,error_percent,inside_95\n";
  for (const FigureError& figure : validation.figures) {
    const std::string_view inside = !figure.inside_95 ? "" : *figure.inside_95 ? "yes" : "no";
    text += Row(std::string_view(CaseName(study.cases[figure.case_index])), figure.key,
                figure.predicted, figure.executed, kPercent * figure.error(), inside);
  }
  for (const SpeedupError& speedup : validation.speedups) {
    text += Row(std::string_view(CaseName(study.cases[speedup.case_index])),
                std::string_view("speedup_points"), speedup.predicted, speedup.executed,
                speedup.points(), std::string_view(""));
  }
  return text;
}

std::string CompositionCsv(const Study& study, const Validation& validation) {
  std::string text =
      "case,steps,ops_us,layers_us,whole_us,ops_error_percent,layers_error_percent\n";
  for (const Composition& sum : validation.compositions) {
    text += Row(std::string_view(CaseName(study.cases[sum.case_index])), sum.steps, sum.ops,
                sum.layers, sum.whole, kPercent * sum.ops_error(), kPercent * sum.layers_error());
  }
  return text;
}

}  // namespace moecast
