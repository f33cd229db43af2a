// aiconfigurator's measured operator tables [AIC] as kernel rows.
// docs/formats/calibration_sources.md.
#pragma once

#include <filesystem>
#include <string>

#include "calibration/import/imported.h"

namespace moecast::calibration {

/// Reads every table ".../ENGINE/VERSION/<table>_perf.{csv,txt}[.gz|.zst]" below `folder`, in the
/// order of their names, whose ENGINE-VERSION is `target.engine` ("vllm-0.24.0"), and NCCL's, which
/// belong to no engine. Tables without a reader are listed with all their rows left out.
/// ERRORS: no table of that engine (names those there are, and the nearest); every problem found in
/// a table, at most kMostProblems of them per file, with file:line: column.
/// COST: 100,000 rows of expert kernels in about 2 s, of others in 0.3 s.
Result<Imported> ImportAic(const std::filesystem::path& folder, const ImportTarget& target);

/// One table whose bytes are `text`; `name` ends in the table's file name.
Result<Imported> ImportAicTable(std::string text, const std::string& name,
                                const ImportTarget& target);

}  // namespace moecast::calibration
