// How fast requests arrive, and whether a run lasted long enough for its rates to be those of the
// load: a short one is mostly its beginning and its end. docs/outputs.md, "Ratios and noise".
#pragma once

#include <optional>
#include <string>

#include "scenarios/scenario.h"
#include "sim/run/run_study.h"

namespace moecast {

/// Mean requests per second of synthetic arrivals; nothing for a closed loop or a trace.
std::optional<double> OfferedRate(const WorkloadSpec& workload);

/// What to know of a case whose requests finish clearly more slowly than they arrive although no
/// queue grows; nothing of others. One sentence.
std::optional<std::string> ShortRunCaveat(const StudyCase& c, const CaseResult& result);
/// The same of a study, with the number of such cases.
std::optional<std::string> ShortRunCaveat(const Study& study, const StudyResult& result);

}  // namespace moecast
