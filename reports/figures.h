// Figures: the headline numbers of a run, defined once for the console, table.csv and summary.json,
// and their estimates over replications. docs/outputs.md, "Figures".
#pragma once

#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "scenarios/scenario.h"
#include "sim/base/stats.h"
#include "sim/engine/run_result.h"
#include "sim/run/run_study.h"

namespace moecast {

/// Confidence of every interval that reports print.
inline constexpr double kConfidence = 0.95;

/// One run of one case, as a figure sees it.
struct RunView {
  const RunResult& run;
  const Scenario& scenario;
  const CaseResult& result;
};

/// A number with a name. `value` is absent when the run has none (no request finished, dense model,
/// no SLO, no gate scores).
struct Figure {
  std::string_view key;    // column of table.csv, unit included: "ttft_median_ms"
  std::string_view title;  // console header, first line; empty: not on the console
  std::string_view unit;   // console header, second line
  int digits;              // after the point, on the console
  std::optional<double> (*value)(const RunView&);
};

/// Every figure, in column order.
std::span<const Figure> Figures();
/// Position in Figures(). REQUIRES: a figure has this key.
size_t FigureIndex(std::string_view key);

/// From what residuals of the profile's kernels allow.
struct Range {
  double low = 0;
  double high = 0;
};

/// A figure of a case over its replications, and against the first variant at the same load.
struct Estimate {
  std::optional<Interval> value;  // absent when any replication has none
  std::optional<double> ratio;    // mean over the first variant's mean; absent for 0 or no value
  /// Whether the mean paired difference to the first variant is away from zero at kConfidence.
  /// Replications are paired: both sides saw the same arrivals, lengths and routing (INV-8).
  /// Absent with fewer than two replications, or for the first variant itself.
  std::optional<bool> distinguishable;
  /// Prediction intervals at 80 and 95 %: how far the true figure may be for the profile's sake.
  /// Absent without a profile. docs/model/calibration.md, "Intervals".
  std::optional<Range> range80 = {};
  std::optional<Range> range95 = {};
};

struct CaseFigures {
  size_t case_index = 0;
  size_t first_index = 0;           // the case that ratios refer to
  std::vector<Estimate> estimates;  // [figure]
};

/// RETURNS: one entry per case, in order. REQUIRES: `result` is the study's.
std::vector<CaseFigures> EstimateFigures(const Study& study, const StudyResult& result);

}  // namespace moecast
