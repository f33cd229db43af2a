// Calibrate: measured rows in, a profile and a report of its error out. The profile is fitted on
// all clean rows; its errors are those of a fit that never saw the held-out fifth of them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "calibration/hygiene.h"
#include "calibration/measurement_table.h"
#include "sim/base/result.h"
#include "sim/cost/profile.h"

namespace moecast::calibration {

/// One row against what was predicted for it.
struct Miss {
  KernelRow row;
  double predicted_ns = 0;
  [[nodiscard]] double ratio() const { return predicted_ns / row.time_ns; }
};

/// A row that its neighbours, or a row of less work, contradict. It stays in the fit.
struct SuspectRow {
  RowSource source{};
  std::string kernel{};
  std::string why{};
};

struct KernelReport {
  std::string op;
  std::string variant;
  std::string format;
  int64_t rows = 0;
  int64_t shapes = 0;
  std::vector<std::string>
      unfitted{};  // shapes with too few rows: priced by the fit over all shapes
  HeldOutError held_out;
  double covered80 = 0;  // share of held-out points inside their 80 % interval
  double covered95 = 0;
  std::vector<Miss> worst{};  // per kernel the five worst held-out points, worst first
  std::vector<SuspectRow> suspects{};
};

/// A layer measured as one graph against the sum of its launches' predictions.
struct CompositionReport {
  std::string format;
  HeldOutError error;         // sum of parts over measured layer
  std::vector<Miss> worst{};  // as above
};

struct CalibrationReport {
  int64_t rows_read = 0;
  int64_t merged = 0;
  std::vector<RefusedRow> refused;
  std::vector<RefusedRow> unexplained;      // rows of one point that differ; their median is used
  std::vector<std::string> superseded{};    // files measured again later
  std::map<std::string, int64_t> ceilings;  // op: rows that are no kernel of a step
  std::vector<std::string> ignored_columns;
  std::vector<std::string> unfitted_kernels;   // too few rows for any fit
  std::vector<KernelReport> kernels;           // in the profile's order
  std::vector<CompositionReport> composition;  // one per format that has `layer` rows and all parts
  HeldOutError all;                            // over every held-out point
  HeldOutError interpolated;  // of them, inside the range of the rows that were kept
  HeldOutError extrapolated;  // outside it: ends of grids, shapes with few rows
  double covered80 = 0;
  double covered95 = 0;
};

struct Calibration {
  Profile profile;
  CalibrationReport report;
};

/// ERRORS: repeated rows that disagree; no kernel with enough rows.
Result<Calibration> Calibrate(const Measurements& measurements, const std::string& name);

/// Summary of predicted / measured ratios. REQUIRES: not empty.
HeldOutError SummariseRatios(const std::vector<double>& ratios);

}  // namespace moecast::calibration
