// RoutingTables: the replay tables of a study. A trace is read (or generated) once, however many
// cases use it; cases that also share a rule of expert selection share its tables.
#pragma once

#include <span>
#include <vector>

#include "scenarios/scenario.h"
#include "sim/base/result.h"
#include "sim/run/build.h"

namespace moecast {

/// One entry per case; no rules where NeedsReplayTable is false.
using RoutingTables = std::vector<CaseRouting>;

/// ERRORS: a trace that is missing, damaged, of another model shape (says which figures differ) or
/// without the scores or ranks that a rule needs.
/// COST: one pass over each distinct trace, its tables built in up to `threads` threads; memory is
/// two batches of chunks plus the tables, of which all together about `resident_bytes` stay in
/// memory and the rest lies in temporary files.
Result<RoutingTables> LoadRoutingTables(std::span<const StudyCase> cases, int threads,
                                        int64_t resident_bytes = ReplayTable::kResidentBytes);

}  // namespace moecast
