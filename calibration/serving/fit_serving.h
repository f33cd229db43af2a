// FitServing: a few measured points of an engine become its host overheads and efficiencies, with
// the error the fit makes on points it has not seen. docs/model/engine_overheads.md.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "calibration/serving/parameters.h"
#include "calibration/serving/point_runner.h"
#include "calibration/serving/serving_point.h"
#include "sim/base/result.h"

namespace moecast::serving {

/// A parameter after the fit.
struct FittedParameter {
  Parameter parameter = Parameter::kHostPerStep;
  Prior prior;
  double value = 0;   // seconds, or a share
  double spread = 0;  // deviation of its logarithm, from the points and the prior
};

struct ServingFit {
  std::vector<FittedParameter> parameters;
  Efficiencies efficiencies;          // the scenario's, with the parameters in place
  std::vector<PointForecast> before;  // per point, with the scenario's own constants
  std::vector<PointForecast> after;   // per point
  std::vector<PointForecast> unseen;  // per point, by a fit of all others; empty for one point
  int evaluations = 0;                // simulations of all points of the main fit
};

/// Figures (TTFT or TPOT of a point) that each fitted parameter needs.
inline constexpr int kFiguresPerParameter = 2;

/// As many parameters, in their order, as the points' figures allow.
std::vector<Parameter> DefaultParameters(std::span<const ServingPoint> points);

/// Moves `parameters` until simulated TTFT and TPOT fit `points`, which are the runner's.
/// ERRORS: no point; more parameters than figures allow (says how many do); the runner's.
/// COST: about 10 x (1 + parameters) simulations of the points, the same again for each left out.
Result<ServingFit> FitServing(const PointRunner& runner, std::span<const ServingPoint> points,
                              std::span<const Parameter> parameters);

/// The same of the default parameters, or of those with the next parameter in place of one after
/// the first two: few points cannot tell every one from the others, so the set counts whose fits
/// forecast points left out best. COST: as many times that of one fit as there are sets.
Result<ServingFit> FitServing(const PointRunner& runner, std::span<const ServingPoint> points);

/// Median over points of |forecast / measured - 1|; NaN when no point states the figure.
struct ServingError {
  double ttft = 0;
  double tpot = 0;
};
ServingError ErrorOf(std::span<const ServingPoint> points,
                     std::span<const PointForecast> forecasts);

/// The fit as text: every parameter with its prior, every point measured and forecast before and
/// after, the median errors, that of points left out last.
std::string DescribeFit(std::span<const ServingPoint> points, const ServingFit& fit);
/// An entry of the catalog's `efficiencies` named `name`, complete, each moved field with its
/// source.
std::string OverlayYaml(const std::string& name, std::span<const ServingPoint> points,
                        const ServingFit& fit);

}  // namespace moecast::serving
