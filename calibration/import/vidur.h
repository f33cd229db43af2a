// Vidur's profiling CSVs as kernel rows [vidur24]: mlp.csv, attention.csv, all_reduce.csv, told by
// their columns. Medians of time_stats, milliseconds. docs/formats/calibration_sources.md.
#pragma once

#include <string>

#include "calibration/import/imported.h"

namespace moecast::calibration {

/// The rows of one file. Vidur measures fp16 tensors. Operations that are no kernel of a step here
/// (reshapes, residual adds) are counted per row as left out.
/// ERRORS: columns of none of the three tables; problems with file:line: column.
Result<Imported> ImportVidur(std::string text, const std::string& name, const ImportTarget& target);

}  // namespace moecast::calibration
