// ReportMarkdown: what a calibration says about itself.
#include <string>

#include "calibration/profile_text.h"
#include "sim/base/text.h"

namespace moecast::calibration {
namespace {

constexpr double kPercent = 100;
constexpr double kNsPerUs = 1e3;

std::string Percent(double ratio, int digits = 1) { return Fixed(kPercent * ratio, digits); }
std::string Us(double ns) { return Fixed(ns / kNsPerUs, 2); }

std::string ErrorCells(const HeldOutError& e) {
  return std::to_string(e.points) + " | " + Percent(e.mean, 2) + " | " + Percent(e.median, 2) +
         " | " + Percent(e.p90) + " | " + Percent(e.p95) + " | " + Percent(e.bias, 2);
}

std::string KernelName(const KernelReport& kernel) {
  return kernel.op + " | " + (kernel.variant.empty() ? "-" : kernel.variant) + " | " +
         kernel.format;
}

std::string KernelTable(const CalibrationReport& report) {
  std::string text =
      "| op | variant | format | rows | shapes | held out | MAPE, % | median | p90 | p95 | bias | "
      "inside 80 % | inside 95 % |\n"
      "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n";
  for (const KernelReport& kernel : report.kernels) {
    text += "| " + KernelName(kernel) + " | " + std::to_string(kernel.rows) + " | " +
            std::to_string(kernel.shapes) + " | " + ErrorCells(kernel.held_out) + " | " +
            Percent(kernel.covered80, 0) + " | " + Percent(kernel.covered95, 0) + " |\n";
  }
  text += "| all | | | | | " + ErrorCells(report.all) + " | " + Percent(report.covered80, 0) +
          " | " + Percent(report.covered95, 0) + " |\n";
  return text;
}

std::string RangeTable(const CalibrationReport& report) {
  return "| held-out points | count | MAPE, % | median | p90 | p95 | bias |\n"
         "| --- | --- | --- | --- | --- | --- | --- |\n"
         "| interpolated | " +
         ErrorCells(report.interpolated) + " |\n| extrapolated | " +
         ErrorCells(report.extrapolated) + " |\n";
}

std::string MissTable(const std::vector<Miss>& misses, const char* predicted) {
  std::string text = std::string("| row | label | T | A | D | m | measured, us | ") + predicted +
                     ", us | error, % |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n";
  for (const Miss& miss : misses) {
    const KernelFeatures& f = miss.row.features;
    text += "| " + miss.row.source.Text() + " | " + miss.row.label;
    for (const Feature feature :
         {Feature::kTokens, Feature::kAssignments, Feature::kDistinct, Feature::kMaxLoad}) {
      text += " | " + ShortestDouble(f[feature]);
    }
    text += " | " + Us(miss.row.time_ns) + " | " + Us(miss.predicted_ns) + " | " +
            Percent(miss.ratio() - 1) + " |\n";
  }
  return text;
}

std::string CompositionText(const CalibrationReport& report) {
  if (report.composition.empty()) return {};
  std::string text =
      "\n## Composition\n\nMeasured `layer` rows against the sum of the predictions of route, the "
      "products (`experts`, or `gate_up` and `down`) and combine.\n\n"
      "| format | rows | MAPE, % | median | p90 | p95 | bias |\n"
      "| --- | --- | --- | --- | --- | --- | --- |\n";
  for (const CompositionReport& each : report.composition) {
    text += "| " + each.format + " | " + ErrorCells(each.error) + " |\n";
  }
  for (const CompositionReport& each : report.composition) {
    text += "\nWorst, " + each.format + ":\n\n" + MissTable(each.worst, "sum of parts");
  }
  return text;
}

std::string WorstText(const CalibrationReport& report) {
  std::string text = "\n## Worst held-out points\n";
  for (const KernelReport& kernel : report.kernels) {
    if (kernel.worst.empty()) continue;
    text += "\n" + kernel.op + " " + kernel.format +
            (kernel.variant.empty() ? "" : " " + kernel.variant) + ":\n\n" +
            MissTable(kernel.worst, "predicted");
  }
  return text;
}

std::string SuspectText(const CalibrationReport& report) {
  std::string rows;
  size_t count = 0;
  for (const KernelReport& kernel : report.kernels) {
    count += kernel.suspects.size();
    for (const SuspectRow& suspect : kernel.suspects) {
      rows += "| " + suspect.source.Text() + " | " + suspect.kernel + " | " + suspect.why + " |\n";
    }
  }
  std::string text =
      "\n## Suspect rows\n\n" + std::to_string(count) +
      " rows that their neighbours or a row of less work contradict. They are used.\n";
  if (count > 0) text += "\n| row | kernel | why |\n| --- | --- | --- |\n" + rows;
  text +=
      "\n" + std::to_string(report.unexplained.size()) +
      " points have rows of different loads or rules that differ by more than 25 %. Their median "
      "is used.\n";
  if (!report.unexplained.empty()) text += "\n| row | kernel | why |\n| --- | --- | --- |\n";
  for (const RefusedRow& row : report.unexplained) {
    text += "| " + row.source.Text() + " | " + row.kernel + " | " + row.why + " |\n";
  }
  return text;
}

std::string LeftOutText(const CalibrationReport& report) {
  std::string text = "\n## Not used\n\n" + std::to_string(report.refused.size()) +
                     " rows refused, " + std::to_string(report.merged) +
                     " repeats merged into the median of their point.\n";
  if (!report.refused.empty()) text += "\n| row | kernel | why |\n| --- | --- | --- |\n";
  for (const RefusedRow& row : report.refused) {
    text += "| " + row.source.Text() + " | " + row.kernel + " | " + row.why + " |\n";
  }
  if (!report.refused.empty()) text += "\n";
  for (const std::string& file : report.superseded) {
    text += "- " + file + ": measured again in a later folder\n";
  }
  for (const auto& [op, rows] : report.ceilings) {
    text += "- " + op + ": " + std::to_string(rows) +
            " rows, a ceiling or a yardstick, no kernel of a step\n";
  }
  for (const std::string& kernel : report.unfitted_kernels) {
    text += "- " + kernel + ": too few rows of one shape for a fit\n";
  }
  for (const KernelReport& kernel : report.kernels) {
    for (const std::string& shape : kernel.unfitted) {
      text += "- " + kernel.op + " " + kernel.format + ", " + shape +
              ": too few rows; priced by the fit over all shapes\n";
    }
  }
  for (const std::string& column : report.ignored_columns) {
    text += "- column " + column + ": no feature of that name\n";
  }
  return text;
}

}  // namespace

std::string ReportMarkdown(const Calibration& calibration) {
  const CalibrationReport& report = calibration.report;
  std::string text = "# Calibration of " + calibration.profile.name + "\n\n";
  text += std::to_string(report.rows_read) + " rows read on " + calibration.profile.gpu +
          ". Errors are of predicted over measured time on points held out of the fit.\n\n";
  text += KernelTable(report) + "\n" + RangeTable(report) + CompositionText(report) +
          WorstText(report) + SuspectText(report) + LeftOutText(report);
  text += "\n## Sources\n\n| file | rows | SHA-256 |\n| --- | --- | --- |\n";
  for (const ProfileSource& source : calibration.profile.sources) {
    text +=
        "| " + source.file + " | " + std::to_string(source.rows) + " | " + source.sha256 + " |\n";
  }
  return text;
}

}  // namespace moecast::calibration
