#include "calibration/serving/accuracy_text.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <sstream>

#include "sim/base/stats.h"
#include "sim/base/text.h"

namespace moecast::serving {
namespace {

/// Goals of the study, and what counts as a failure of one row: twice a goal.
constexpr double kTpotGoal = 0.10;
constexpr double kTtftGoal = 0.25;

struct Ratios {
  double ttft = 0;
  double tpot = 0;
};

Ratios RatiosOf(const SiliconRow& row, const PointForecast& forecast) {
  return {.ttft = forecast.ttft_s / *row.point.ttft_s, .tpot = forecast.tpot_s / *row.point.tpot_s};
}

std::string Percent(double share) { return Fixed(share * 100, 1); }

/// Median of |ratio - 1| and of ratio.
struct Spread {
  double error = 0;
  double bias = 0;
};
Spread SpreadOf(std::vector<double> ratios) {
  const double bias = Quantile(ratios, 1.0 / 2) - 1;
  for (double& r : ratios) r = std::abs(r - 1);
  return {.error = Quantile(ratios, 1.0 / 2), .bias = bias};
}

bool WasFitted(const GroupAccuracy& g, size_t row) {
  return std::find(g.fitted_on.begin(), g.fitted_on.end(), row) != g.fitted_on.end();
}

/// One line per (engine, model, GPU), or over all of them when `system` is empty.
std::string ErrorLine(const GroupAccuracy& g, const std::string& system) {
  std::vector<double> ttft, tpot, ttft_before, tpot_before;
  for (size_t i = 0; i < g.group.rows.size(); ++i) {
    const SiliconRow& row = g.group.rows[i];
    if (WasFitted(g, i) || (!system.empty() && row.system != system)) continue;
    const Ratios before = RatiosOf(row, g.before[i]);
    ttft_before.push_back(before.ttft);
    tpot_before.push_back(before.tpot);
    if (g.after.empty()) continue;
    const Ratios after = RatiosOf(row, g.after[i]);
    ttft.push_back(after.ttft);
    tpot.push_back(after.tpot);
  }
  if (ttft_before.empty()) return {};
  std::ostringstream line;
  line << "| " << g.group.model << " | " << g.group.engine << " | "
       << (system.empty() ? "all" : system) << " | " << tpot_before.size() << " | "
       << Percent(SpreadOf(tpot_before).error) << " | " << Percent(SpreadOf(ttft_before).error);
  if (tpot.empty()) {
    line << " | - | - | - | - | too few rows to fit and judge |\n";
    return line.str();
  }
  const Spread tp = SpreadOf(tpot), tt = SpreadOf(ttft);
  line << " | " << Percent(tp.error) << " | " << Percent(tp.bias) << " | " << Percent(tt.error)
       << " | " << Percent(tt.bias) << " | TPOT " << (tp.error <= kTpotGoal ? "met" : "missed")
       << ", TTFT " << (tt.error <= kTtftGoal ? "met" : "missed") << " |\n";
  return line.str();
}

std::string FitLines(const GroupAccuracy& g) {
  std::ostringstream text;
  text << "\n### " << g.group.engine << ", " << g.group.model << "\n\nFitted on";
  for (const size_t i : g.fitted_on) {
    const SiliconRow& row = g.group.rows[i];
    text << (i == g.fitted_on.front() ? " " : "; ") << row.system << " x " << row.gpus << ", "
         << row.point.concurrency << " in flight, " << Fixed(row.point.input_tokens, 0) << "/"
         << Fixed(row.point.output_tokens, 0);
  }
  std::vector<ServingPoint> few;
  for (const size_t i : g.fitted_on) few.push_back(g.group.rows[i].point);
  const ServingError after = ErrorOf(few, g.fit->after);
  const ServingError unseen = ErrorOf(few, g.fit->unseen);
  text << ".\nMedian error on these: TPOT " << Percent(after.tpot) << " %, TTFT "
       << Percent(after.ttft) << " %; leave-one-out: TPOT " << Percent(unseen.tpot) << " %, TTFT "
       << Percent(unseen.ttft) << " %.\n\n| parameter | prior | fitted | deviation |\n"
       << "| --- | --- | --- | --- |\n";
  for (const FittedParameter& p : g.fit->parameters) {
    constexpr double kPerMicro = 1e6;
    const bool host = p.prior.most == 0;
    const auto value = [&](double v) {
      return host ? Fixed(v * kPerMicro, 1) + " us" : Fixed(v, 3);
    };
    text << "| " << ParameterName(p.parameter) << " | " << value(p.prior.center) << " x/ "
         << Fixed(std::exp(p.prior.spread), 2) << " | " << value(p.value) << " | x/ "
         << Fixed(std::exp(p.spread), 2) << " |\n";
  }
  return text.str();
}

/// Rows of the group that lie twice a goal away, by the reason that their own figures give.
std::string FailureLines(const GroupAccuracy& g) {
  std::map<std::string, std::vector<std::string>> by_reason;
  const std::vector<PointForecast>& forecasts = g.after.empty() ? g.before : g.after;
  for (size_t i = 0; i < g.group.rows.size(); ++i) {
    const SiliconRow& row = g.group.rows[i];
    const Ratios r = RatiosOf(row, forecasts[i]);
    const bool slow = std::abs(r.tpot - 1) > 2 * kTpotGoal;
    const bool late = std::abs(r.ttft - 1) > 2 * kTtftGoal;
    if (!slow && !late) continue;
    std::ostringstream line;
    line << row.system << " x " << row.gpus << ", " << row.point.concurrency << " in flight, "
         << Fixed(row.point.input_tokens, 0) << "/" << Fixed(row.point.output_tokens, 0)
         << ": TPOT x " << Fixed(r.tpot, 2) << ", TTFT x " << Fixed(r.ttft, 2);
    std::string reason = row.suspect;
    if (reason.empty()) reason = slow ? (late ? "both figures off" : "TPOT off") : "TTFT off";
    by_reason[reason].push_back(line.str());
  }
  std::ostringstream text;
  for (const auto& [reason, lines] : by_reason) {
    text << "\n"
         << g.group.engine << ", " << g.group.model << ", " << reason << " (" << lines.size()
         << "):\n\n";
    for (const std::string& line : lines) text << "- " << line << "\n";
  }
  return text.str();
}

}  // namespace

std::string AccuracyPage(std::span<const GroupAccuracy> groups) {
  std::ostringstream page;
  page << "# Forecasts against measured serving points\n\n"
          "Written by `serving_accuracy` (docs/accuracy.md has the command). Median absolute error "
          "in % over the rows\nthat no fit saw; bias is the median of forecast over measured, less "
          "one. Goals: TPOT 10 %, TTFT 25 %.\n\n"
          "| model | engine | GPU | rows | TPOT before | TTFT before | TPOT | bias | TTFT | bias | "
          "goals |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n";
  for (const GroupAccuracy& g : groups) {
    std::vector<std::string> systems;
    for (const SiliconRow& row : g.group.rows) systems.push_back(row.system);
    std::sort(systems.begin(), systems.end());
    systems.erase(std::unique(systems.begin(), systems.end()), systems.end());
    if (systems.size() > 1) systems.insert(systems.begin(), "");
    for (const std::string& system : systems) page << ErrorLine(g, system);
  }
  page << "\n## Fits\n";
  for (const GroupAccuracy& g : groups) {
    if (g.fit) page << FitLines(g);
  }
  page << "\n## Failures\n\nRows off by more than twice a goal, forecast over measured. A reason "
          "that speaks of waiting or concurrency is the row's\nown contradiction, found before any "
          "forecast was made.\n";
  for (const GroupAccuracy& g : groups) page << FailureLines(g);
  return page.str();
}

std::string RatioTable(std::span<const GroupAccuracy> groups) {
  std::ostringstream csv;
  csv << "id,model,engine,system,gpus,concurrency,fitted,tpot_before,ttft_before,tpot,ttft,"
         "suspect\n";
  constexpr int kDigits = 3;
  for (const GroupAccuracy& g : groups) {
    for (size_t i = 0; i < g.group.rows.size(); ++i) {
      const SiliconRow& row = g.group.rows[i];
      const Ratios before = RatiosOf(row, g.before[i]);
      csv << row.id << "," << row.model << "," << row.engine << "," << row.system << "," << row.gpus
          << "," << row.point.concurrency << "," << (WasFitted(g, i) ? 1 : 0) << ","
          << Fixed(before.tpot, kDigits) << "," << Fixed(before.ttft, kDigits) << ",";
      if (!g.after.empty()) {
        const Ratios after = RatiosOf(row, g.after[i]);
        csv << Fixed(after.tpot, kDigits) << "," << Fixed(after.ttft, kDigits);
      } else {
        csv << ",";
      }
      csv << "," << (row.suspect.empty() ? 0 : 1) << "\n";
    }
  }
  return csv.str();
}

}  // namespace moecast::serving
