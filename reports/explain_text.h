// The text of `moecast explain`: the arithmetic of one step, line by line, with totals per part.
#pragma once

#include <string>

#include "scenarios/scenario.h"
#include "sim/run/explain_step.h"

namespace moecast {

/// Op, count, bytes, FLOPs, bounds, time, label and shape of every line; totals per part; the
/// memory plan; what prices, routing and program the figures rest on.
std::string RenderExplanation(const std::string& study_name, const Scenario& scenario,
                              const StepAnswer& answer);

}  // namespace moecast
