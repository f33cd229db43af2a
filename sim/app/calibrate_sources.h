// The sources of `moecast calibrate` other than this project's measurements: tables of other tools,
// and measured serving points.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "calibration/measurement_table.h"
#include "sim/base/result.h"

namespace moecast {

/// Flags of tables and of serving points; at most one source is set.
struct CalibrateSources {
  std::string aic;                   // folder of aiconfigurator tables
  std::string llmservingsim;         // folder of LLMServingSim profiles
  std::vector<std::string> vidur;    // files
  std::vector<std::string> moe_cap;  // files
  std::string engine;
  std::string gpu;                       // catalog name of the GPU the tables were measured on
  std::string model;                     // catalog name of the model of LLMServingSim's profiles
  std::vector<std::string> ops;          // kernels to keep; empty: all
  std::vector<std::string> fit_serving;  // files of serving points
  std::string scenario;
  std::vector<std::string> overrides;
  std::vector<std::string> parameters;
  std::string catalog;
  int threads = 0;

  [[nodiscard]] bool has_tables() const {
    return !aic.empty() || !llmservingsim.empty() || !vidur.empty() || !moe_cap.empty();
  }
};

void AddSourceOptions(CLI::App& command, CalibrateSources& sources);

/// Rows of the tables, ready to fit. What became of every row goes to stderr.
/// ERRORS: the readers'; an unknown GPU or model; no --gpu.
Result<calibration::Measurements> ImportTables(const CalibrateSources& sources);

/// Fits overheads to the points, prints the fit, writes the catalog entry to `out`.
Status FitServingPoints(const CalibrateSources& sources, const std::string& out);

}  // namespace moecast
