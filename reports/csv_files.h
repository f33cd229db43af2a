// The CSV files of a result as text. Headers carry units; numbers are the shortest that read back
// equal. docs/outputs.md defines every column.
#pragma once

#include <span>
#include <string>

#include "scenarios/scenario.h"
#include "sim/metrics/records.h"
#include "sim/run/run_study.h"

namespace moecast {

/// timeseries.csv of one run.
std::string TimeSeriesCsv(std::span<const TimeSample> samples);

/// experts.csv of one case, summed over replications; empty without replayed routing.
std::string ExpertsCsv(const Scenario& scenario, const CaseResult& result);

/// table.csv: one row per case, every figure.
std::string TableCsv(const Study& study, const StudyResult& result);

}  // namespace moecast
