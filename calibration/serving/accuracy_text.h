// The pages of the serving accuracy study.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "calibration/serving/engine_groups.h"
#include "calibration/serving/fit_serving.h"

namespace moecast::serving {

/// One engine's points and how well they are forecast.
struct GroupAccuracy {
  EngineGroup group;
  std::vector<size_t> fitted_on{};  // rows the fit saw; empty: too few rows to fit and judge
  std::optional<ServingFit> fit{};
  std::vector<PointForecast> before{};  // of every row, with the stated constants
  std::vector<PointForecast> after{};   // of every row, after the fit; empty without one
};

/// serving.md: medians per engine, model and GPU over rows the fit did not see, the fitted
/// constants, and every failure with its reason.
std::string AccuracyPage(std::span<const GroupAccuracy> groups);
/// serving_ratios.csv: forecast over measured of every row; measured figures are not repeated.
std::string RatioTable(std::span<const GroupAccuracy> groups);

}  // namespace moecast::serving
