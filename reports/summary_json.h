// summary.json: the result of one case with the keys of `vllm bench serve --save-result`, and under
// "moecast" what a measured run cannot know. docs/outputs.md, "summary.json".
#pragma once

#include <boost/json/value.hpp>

#include "reports/figures.h"
#include "scenarios/scenario.h"
#include "sim/run/run_study.h"

namespace moecast {

/// A case of the study. With several replications counts and durations are sums, rates and latency
/// statistics are means over replications.
boost::json::value CaseSummaryJson(const Study& study, const StudyResult& result,
                                   const CaseFigures& figures);

/// The whole study: provenance, inputs, and every case's figures with intervals and ratios.
boost::json::value StudySummaryJson(const Study& study, const StudyResult& result);

}  // namespace moecast
