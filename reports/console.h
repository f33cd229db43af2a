// The console report: one table of every case, what the figures rest on, and what to beware of.
#pragma once

#include <string>

#include "scenarios/scenario.h"
#include "sim/run/run_study.h"

namespace moecast {

/// The table: one row per load and variant, every number with its unit in the header, ratios to the
/// first variant of the load. With replications each row is followed by its 95 % half widths.
std::string RenderTable(const Study& study, const StudyResult& result);

/// The lines below the table: model, GPU, memory, routing, labels, seed, fingerprint, caveats.
std::string RenderProvenance(const Study& study, const StudyResult& result);

}  // namespace moecast
