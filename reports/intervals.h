// Prediction intervals of the headline figures, as a table below the forecast.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "reports/figures.h"
#include "scenarios/scenario.h"

namespace moecast {

/// Two rows per case that has a profile, 80 and 95 %; empty when none has. `shown` are the
/// positions of the figures on the console.
std::string RenderIntervals(const Study& study, const std::vector<CaseFigures>& cases,
                            std::span<const size_t> shown);

}  // namespace moecast
