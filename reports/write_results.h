// WriteResults: every file of a study but requests.csv, which its runs have written already.
#pragma once

#include <filesystem>

#include "scenarios/scenario.h"
#include "sim/base/result.h"
#include "sim/run/run_study.h"

namespace moecast {

/// Below `folder`: scenario.yaml, table.csv, study.json, and per case (see CaseFolder)
/// summary.json, timeseries.csv and experts.csv. docs/outputs.md. ERRORS: a folder or file that
/// cannot be written.
Status WriteResults(const Study& study, const StudyResult& result,
                    const std::filesystem::path& folder);

}  // namespace moecast
