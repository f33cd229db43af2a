#include "calibration/serving/fit_serving.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>
#include <optional>

#include "calibration/serving/robust_fit.h"
#include "sim/base/check.h"
#include "sim/base/stats.h"

namespace moecast::serving {
namespace {

/// Deviations of ln(forecast / measured) that count as one: a benchmark's TTFT scatters more than
/// its TPOT, and hangs on what happens outside the engine.
constexpr double kTtftDeviation = 0.15;
constexpr double kTpotDeviation = 0.05;
/// The first parameters, host time per step and the share of the peak, are never left out.
constexpr size_t kAlwaysFitted = 2;

Eigen::VectorXd ResidualsOf(std::span<const ServingPoint> points, std::span<const size_t> which,
                            std::span<const PointForecast> forecasts) {
  std::vector<double> residuals;
  for (size_t i = 0; i < which.size(); ++i) {
    const ServingPoint& point = points[which[i]];
    if (point.ttft_s) {
      residuals.push_back(std::log(forecasts[i].ttft_s / *point.ttft_s) / kTtftDeviation);
    }
    if (point.tpot_s) {
      residuals.push_back(std::log(forecasts[i].tpot_s / *point.tpot_s) / kTpotDeviation);
    }
  }
  return Eigen::Map<Eigen::VectorXd>(residuals.data(), static_cast<Eigen::Index>(residuals.size()));
}

std::vector<double> ToVector(const Eigen::VectorXd& z) { return {z.begin(), z.end()}; }

/// One engine's points and the parameters that fit them.
class Fitter {
 public:
  Fitter(const PointRunner& runner, std::span<const ServingPoint> points,
         std::span<const Parameter> parameters)
      : runner_(runner), points_(points), parameters_(parameters) {
    spread_.resize(static_cast<Eigen::Index>(parameters.size()));
    for (size_t i = 0; i < parameters.size(); ++i) {
      spread_[static_cast<Eigen::Index>(i)] = PriorOf(parameters[i], runner.base()).spread;
    }
  }

  [[nodiscard]] Result<RobustFit> Fit(std::span<const size_t> which, const Eigen::VectorXd& start,
                                      int most_steps) const {
    return FitRobustly({.start = start, .prior_spread = spread_, .most_steps = most_steps},
                       [&](const Eigen::VectorXd& z) -> Result<Eigen::VectorXd> {
                         SIM_TRY(const std::vector<PointForecast> forecasts, Run(z, which));
                         return ResidualsOf(points_, which, forecasts);
                       });
  }
  [[nodiscard]] Result<std::vector<PointForecast>> Run(const Eigen::VectorXd& z,
                                                       std::span<const size_t> which) const {
    return runner_.Run(Apply(runner_.base(), parameters_, ToVector(z)), which);
  }

  /// Where searches begin: the base with the time per step moved by what the points' TPOT lacks in
  /// the median, and that with the time per request moved by what their TTFT lacks. Far from its
  /// value a host time of milliseconds moves a figure of hundreds too little to be found.
  [[nodiscard]] std::vector<Eigen::VectorXd> Starts(std::span<const PointForecast> base) const {
    std::vector<double> tpot;
    std::vector<double> ttft;
    for (size_t i = 0; i < points_.size(); ++i) {
      if (points_[i].tpot_s) tpot.push_back(*points_[i].tpot_s - base[i].tpot_s);
      if (points_[i].ttft_s) ttft.push_back(*points_[i].ttft_s - base[i].ttft_s);
    }
    std::vector<Eigen::VectorXd> starts{Eigen::VectorXd::Zero(spread_.size())};
    Move(Parameter::kHostPerStep, tpot, starts.front());
    Eigen::VectorXd slow_entry = starts.front();
    if (Move(Parameter::kHostPerRequest, ttft, slow_entry)) starts.push_back(slow_entry);
    return starts;
  }

  [[nodiscard]] std::vector<FittedParameter> Describe(const RobustFit& fit) const {
    std::vector<FittedParameter> described;
    for (size_t i = 0; i < parameters_.size(); ++i) {
      const auto row = static_cast<Eigen::Index>(i);
      const Prior prior = PriorOf(parameters_[i], runner_.base());
      described.push_back({.parameter = parameters_[i],
                           .prior = prior,
                           .value = ValueAt(prior, fit.z[row]),
                           .spread = std::sqrt(fit.covariance(row, row))});
    }
    return described;
  }

 private:
  /// Moves a host time by the median of gaps, which it reorders. RETURNS: whether it is fitted and
  /// there are gaps.
  bool Move(Parameter parameter, std::span<double> gaps, Eigen::VectorXd& start) const {
    const auto found = std::ranges::find(parameters_, parameter);
    if (found == parameters_.end() || gaps.empty()) return false;
    constexpr double kLeastShare = 0.1;
    const double center = PriorOf(parameter, runner_.base()).center;
    const double moved = std::max(center + Quantile(gaps, 1.0 / 2), center * kLeastShare);
    start[found - parameters_.begin()] = std::log(moved / center);
    return true;
  }

  const PointRunner& runner_;
  std::span<const ServingPoint> points_;
  std::span<const Parameter> parameters_;
  Eigen::VectorXd spread_;
};

int FiguresOf(std::span<const ServingPoint> points) {
  int figures = 0;
  for (const ServingPoint& point : points) figures += point.observations();
  return figures;
}

/// The forecast of each point by a fit of all others, which starts from the fit of all.
Result<std::vector<PointForecast>> LeaveOneOut(const Fitter& fitter, size_t points,
                                               const Eigen::VectorXd& start) {
  constexpr int kSteps = 3;  // the optimum is near
  std::vector<PointForecast> unseen;
  for (size_t left_out = 0; left_out < points && points > 1; ++left_out) {
    std::vector<size_t> rest(points);
    std::iota(rest.begin(), rest.end(), 0);
    rest.erase(rest.begin() + static_cast<ptrdiff_t>(left_out));
    SIM_TRY(const RobustFit fit, fitter.Fit(rest, start, kSteps));
    const std::array one{left_out};
    SIM_TRY(const std::vector<PointForecast> forecast, fitter.Run(fit.z, one));
    unseen.push_back(forecast.front());
  }
  return unseen;
}

}  // namespace

namespace {

/// The first parameters in order, as many as figures allow, `left_out` not among them.
std::vector<Parameter> FirstParameters(std::span<const ServingPoint> points,
                                       std::optional<Parameter> left_out) {
  const auto count = static_cast<size_t>(FiguresOf(points) / kFiguresPerParameter);
  std::vector<Parameter> parameters;
  for (int i = 0; i < kParameterCount && parameters.size() < count; ++i) {
    const auto parameter = static_cast<Parameter>(i);
    if (parameter != left_out) parameters.push_back(parameter);
  }
  return parameters;
}

/// Error on points left out, in the deviations of figures.
double UnseenError(std::span<const ServingPoint> points, const ServingFit& fit) {
  const ServingError error = ErrorOf(points, fit.unseen);
  const auto part = [](double median, double deviation) {
    return std::isnan(median) ? 0 : median / deviation;
  };
  return part(error.ttft, kTtftDeviation) + part(error.tpot, kTpotDeviation);
}

}  // namespace

std::vector<Parameter> DefaultParameters(std::span<const ServingPoint> points) {
  return FirstParameters(points, std::nullopt);
}

Result<ServingFit> FitServing(const PointRunner& runner, std::span<const ServingPoint> points) {
  const std::vector<Parameter> first = DefaultParameters(points);
  SIM_TRY(ServingFit best, FitServing(runner, points, first));
  if (points.size() < 2) return best;
  for (size_t i = kAlwaysFitted; i < first.size(); ++i) {
    const std::vector<Parameter> others = FirstParameters(points, first[i]);
    if (others.size() < first.size()) continue;  // none left to take its place
    SIM_TRY(ServingFit fit, FitServing(runner, points, others));
    if (UnseenError(points, fit) < UnseenError(points, best)) best = std::move(fit);
  }
  return best;
}

Result<ServingFit> FitServing(const PointRunner& runner, std::span<const ServingPoint> points,
                              std::span<const Parameter> parameters) {
  const int allowed = FiguresOf(points) / kFiguresPerParameter;
  if (parameters.empty() || static_cast<int>(parameters.size()) > allowed) {
    return Error{std::to_string(parameters.size()) + " parameters asked for; " +
                     std::to_string(points.size()) + " points with " +
                     std::to_string(FiguresOf(points)) + " figures allow 1 to " +
                     std::to_string(allowed) + ", two figures each",
                 "--fit"};
  }
  std::vector<size_t> all(points.size());
  std::iota(all.begin(), all.end(), 0);
  const Fitter fitter(runner, points, parameters);
  ServingFit result;
  SIM_TRY(result.before, runner.Run(runner.base(), all));
  constexpr int kSteps = 12;
  std::optional<RobustFit> best;
  int evaluations = 0;
  for (const Eigen::VectorXd& start : fitter.Starts(result.before)) {
    SIM_TRY(RobustFit found, fitter.Fit(all, start, kSteps));
    evaluations += found.evaluations;
    if (!best || found.loss < best->loss) best = std::move(found);
  }
  const RobustFit& fit = *best;
  SIM_TRY(result.after, fitter.Run(fit.z, all));
  SIM_TRY(result.unseen, LeaveOneOut(fitter, points.size(), fit.z));
  result.parameters = fitter.Describe(fit);
  result.efficiencies = Apply(runner.base(), parameters, ToVector(fit.z));
  result.evaluations = evaluations;
  return result;
}

ServingError ErrorOf(std::span<const ServingPoint> points,
                     std::span<const PointForecast> forecasts) {
  SIM_CHECK(points.size() == forecasts.size());
  std::vector<double> ttft;
  std::vector<double> tpot;
  for (size_t i = 0; i < points.size(); ++i) {
    if (points[i].ttft_s) ttft.push_back(std::abs(forecasts[i].ttft_s / *points[i].ttft_s - 1));
    if (points[i].tpot_s) tpot.push_back(std::abs(forecasts[i].tpot_s / *points[i].tpot_s - 1));
  }
  const auto median = [](std::vector<double>& errors) {
    return errors.empty() ? std::numeric_limits<double>::quiet_NaN() : Quantile(errors, 1.0 / 2);
  };
  return {.ttft = median(ttft), .tpot = median(tpot)};
}

}  // namespace moecast::serving
