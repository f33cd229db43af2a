// Groups of measured points of one engine, and the few of each that a fit may see.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "calibration/serving/silicon_table.h"

namespace moecast::serving {

/// Rows of one engine version and one model, over GPUs and parallelisms.
struct EngineGroup {
  std::string engine;
  std::string model;
  std::vector<SiliconRow> rows;  // in the table's order
};
/// Sorted by model, then engine.
std::vector<EngineGroup> GroupByEngine(std::span<const SiliconRow> rows);

/// Indices of at most `most` rows to fit on, chosen by where they lie and never by what was
/// measured there: the row of least load first, then always the one farthest from all chosen, in
/// octaves of concurrency, lengths and GPUs. Suspect rows are not chosen. Ascending.
std::vector<size_t> ChooseFitRows(const EngineGroup& group, size_t most);

}  // namespace moecast::serving
