#include "calibration/kernel_fit.h"

#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <limits>
#include <span>

namespace moecast::calibration {
namespace {

/// Part of a correction's variance that is noise of single rows.
constexpr double kNoise = 1e-2;
/// A shape with fewer points than this does not choose its own sharpness, and borrows: up to so
/// many points of other shapes, together worth a tenth of one, decide what its own leave open.
constexpr size_t kFewPoints = 16;
constexpr size_t kMostBorrowed = 64;
constexpr double kBorrowedWeight = 0.1;

std::vector<FitPoint> ChosenPoints(const ShapeRows& shape, const Chosen& chosen) {
  std::vector<FitPoint> points;
  for (const Point& point : shape.points) {
    if (chosen(point)) points.push_back(point.fit);
  }
  return points;
}

double Correction(const KernelForm& form, const KernelFit& fit, const FitPoint& point) {
  const double time = FitTime(fit, form.work(point.features, fit.rows_per_pass));
  return std::clamp(std::log(point.seconds / time), -kMostCorrection, kMostCorrection);
}

void Append(std::vector<FitPoint>& to, const std::vector<FitPoint>& more) {
  to.insert(to.end(), more.begin(), more.end());
}

/// Shapes whose rows correct each other, and the fits that are corrected.
struct Group {
  std::span<const std::vector<FitPoint>> points;  // of each shape
  std::vector<const KernelFit*> fits;
};

/// Covariances of all points of a group, shape by shape.
Eigen::MatrixXd CovarianceOf(const KernelForm& form, const Group& group) {
  std::vector<KernelPlace> places;
  std::vector<size_t> shape_of;
  for (size_t shape = 0; shape < group.points.size(); ++shape) {
    for (const FitPoint& point : group.points[shape]) {
      places.push_back(form.place(AxesOf(form, point.features)));
      shape_of.push_back(shape);
    }
  }
  const auto count = static_cast<Eigen::Index>(places.size());
  Eigen::MatrixXd covariance(count, count);
  for (size_t i = 0; i < places.size(); ++i) {
    for (size_t j = 0; j <= i; ++j) {
      const double alike = shape_of[i] == shape_of[j] ? 1 : form.alike;
      const double value = alike * CovarianceAt(SquaredDistance(places[i], places[j]));
      covariance(static_cast<Eigen::Index>(i), static_cast<Eigen::Index>(j)) = value;
      covariance(static_cast<Eigen::Index>(j), static_cast<Eigen::Index>(i)) = value;
    }
  }
  covariance.diagonal().array() += kNoise;
  return covariance;
}

Eigen::VectorXd Corrections(const KernelForm& form, const Group& group) {
  std::vector<double> corrections;
  for (size_t shape = 0; shape < group.points.size(); ++shape) {
    for (const FitPoint& point : group.points[shape]) {
      corrections.push_back(Correction(form, *group.fits[shape], point));
    }
  }
  return Eigen::Map<const Eigen::VectorXd>(corrections.data(),
                                           static_cast<Eigen::Index>(corrections.size()));
}

/// Gives the shapes of a group their rows. `shapes` are those of the group's points.
void WeighRows(const KernelForm& form, const Group& group, std::span<ShapeProfile> shapes) {
  const Eigen::LLT<Eigen::MatrixXd> factors(CovarianceOf(form, group));
  const Eigen::VectorXd weights = factors.solve(Corrections(form, group));
  Eigen::Index next = 0;
  for (size_t shape = 0; shape < shapes.size(); ++shape) {
    for (const FitPoint& point : group.points[shape]) {
      shapes[shape].rows.push_back({.axes = AxesOf(form, point.features),
                                    .seconds = point.seconds,
                                    .weight = weights(next++)});
    }
  }
}

/// The shapes of a kernel in groups that are corrected together: all in one, or each for itself.
/// Calls `visit(group, number of the group's first shape)`.
template <class Visit>
void ForEachGroup(std::span<const std::vector<FitPoint>> points,
                  const std::vector<const KernelFit*>& fits, const Visit& visit) {
  size_t rows = 0;
  for (const std::vector<FitPoint>& each : points) rows += each.size();
  const size_t step = CorrectTogether(rows) ? std::max<size_t>(points.size(), 1) : 1;
  for (size_t first = 0; first < points.size(); first += step) {
    const auto begin = fits.begin() + static_cast<std::ptrdiff_t>(first);
    visit(Group{.points = points.subspan(first, step),
                .fits = {begin, begin + static_cast<std::ptrdiff_t>(step)}},
          first);
  }
}

/// The points of shape `own`, and evenly spaced ones of all others when it has few.
std::vector<FitPoint> WithBorrowed(const std::vector<std::vector<FitPoint>>& shapes, size_t own) {
  std::vector<FitPoint> points = shapes[own];
  if (points.size() >= kFewPoints) return points;
  std::vector<const FitPoint*> others;
  for (size_t shape = 0; shape < shapes.size(); ++shape) {
    if (shape == own) continue;
    for (const FitPoint& point : shapes[shape]) others.push_back(&point);
  }
  const size_t count = std::min(others.size(), kMostBorrowed);
  for (size_t i = 0; i < count; ++i) {
    points.push_back(*others[i * others.size() / count]);
    points.back().weight = kBorrowedWeight / static_cast<double>(count);
  }
  return points;
}

const ShapeProfile* FindShape(const KernelProfile& profile, const KernelFeatures& shape) {
  for (const ShapeProfile& each : profile.shapes) {
    if (each.shape == shape) return &each;
  }
  return nullptr;
}

/// The band that holds 80 and 95 % of further errors like these, or nothing when there are too few
/// to say. Split conformal, the (n + 1) q-th smallest, read between two where that is no whole
/// number, so that small kernels get no wider bands than they promise. [Vovk05]
std::optional<ErrorBand> BandOf(std::vector<double> errors) {
  constexpr size_t kFewestErrors = 5;
  if (errors.size() < kFewestErrors) return std::nullopt;
  for (double& error : errors) error = std::abs(error);
  std::sort(errors.begin(), errors.end());
  const auto at = [&errors](double q) {
    const double rank =
        std::min((static_cast<double>(errors.size()) + 1) * q, static_cast<double>(errors.size()));
    const double below = std::floor(rank);
    const auto place = static_cast<size_t>(below);
    const double lower = place == 0 ? 0 : errors[place - 1];
    const double upper = errors[std::min(place, errors.size() - 1)];
    return lower + (rank - below) * (upper - lower);
  };
  return ErrorBand{.half80 = at(0.80), .half95 = at(0.95)};
}

/// Errors of predictions by what they were called.
struct LabelledErrors {
  std::vector<double> inside;  // interpolated
  std::vector<double> outside;
};

/// Adds errors of predictions for what `left_out` holds out of the chosen points.
void AddErrorsWithout(const KernelRows& kernel, const Chosen& chosen, const Chosen& left_out,
                      const KernelProfile& hint, LabelledErrors& errors) {
  const KernelProfile rest = FitCurves(
      kernel, [&](const Point& p) { return chosen(p) && !left_out(p); }, &hint);
  if (rest.shapes.empty()) return;
  for (const Prediction& prediction :
       PredictPoints(kernel, rest, [&](const Point& p) { return chosen(p) && left_out(p); })) {
    const bool inside = prediction.time.label != Label::kExtrapolated;
    (inside ? errors.inside : errors.outside).push_back(prediction.log_error());
  }
}

LabelledErrors FoldErrors(const KernelRows& kernel, const Chosen& chosen,
                          const KernelProfile& hint) {
  LabelledErrors errors;
  for (uint64_t fold = 0; fold < kFolds; ++fold) {
    AddErrorsWithout(
        kernel, chosen, [fold](const Point& p) { return FoldOf(p) == fold; }, hint, errors);
  }
  return errors;
}

/// Points in the last octave of their shape's first coordinate.
void AddFrontierErrors(const KernelRows& kernel, const Chosen& chosen, const KernelProfile& hint,
                       LabelledErrors& errors) {
  const KernelForm& form = kernel.form();
  const auto size_of = [&form](const Point& p) {
    return form.place(AxesOf(form, p.fit.features)).front();
  };
  std::vector<const Point*> frontier;
  for (const ShapeRows& shape : kernel.shapes) {
    double most = 0;
    for (const Point& point : shape.points) most = std::max(most, size_of(point));
    for (const Point& point : shape.points) {
      if (size_of(point) > most - 1) frontier.push_back(&point);
    }
  }
  std::sort(frontier.begin(), frontier.end());
  AddErrorsWithout(
      kernel, chosen,
      [&frontier](const Point& p) {
        return std::binary_search(frontier.begin(), frontier.end(), &p);
      },
      hint, errors);
}

/// Errors on every shape of the fit over the others; where shapes are many, several are left out
/// together.
std::vector<double> UnseenShapeErrors(const KernelRows& kernel, const Chosen& chosen,
                                      const KernelProfile& hint) {
  const KernelForm& form = kernel.form();
  std::vector<double> errors;
  if (kernel.shapes.size() < 2) return errors;
  constexpr size_t kMostGroups = 16;
  const size_t groups = std::min(kernel.shapes.size(), kMostGroups);
  for (size_t group = 0; group < groups; ++group) {
    std::vector<FitPoint> others;
    std::vector<FitPoint> unseen;
    for (size_t i = 0; i < kernel.shapes.size(); ++i) {
      Append(i % groups == group ? unseen : others, ChosenPoints(kernel.shapes[i], chosen));
    }
    if (others.size() < kFewestPoints) continue;
    const KernelFit fit = FitLike(form, others, hint.any_shape);
    for (const FitPoint& point : unseen) {
      const double time = FitTime(fit, form.work(point.features, fit.rows_per_pass));
      errors.push_back(std::log(point.seconds / time));
    }
  }
  return errors;
}

ErrorBand SpreadBand(const KernelRows& kernel, const Chosen& chosen) {
  std::vector<double> spreads;
  for (const ShapeRows& shape : kernel.shapes) {
    for (const Point& point : shape.points) {
      if (chosen(point)) spreads.push_back(point.row->spread_ns / point.row->time_ns / 2);
    }
  }
  return BandOf(std::move(spreads)).value_or(ErrorBand{});
}

ErrorBand Wider(const ErrorBand& a, const ErrorBand& b) {
  return {.half80 = std::max(a.half80, b.half80), .half95 = std::max(a.half95, b.half95)};
}

}  // namespace

double Prediction::log_error() const { return std::log(point->fit.seconds / time.seconds); }

KernelProfile FitCurves(const KernelRows& kernel, const Chosen& chosen, const KernelProfile* hint) {
  const KernelForm& form = kernel.form();
  KernelProfile profile{.op = kernel.op,
                        .variant = kernel.variant,
                        .format = kernel.format,
                        .any_shape = {},
                        .shapes = {},
                        .measured = {},
                        .interpolated = {},
                        .extrapolated = {},
                        .unseen_shape = {},
                        .held_out = {}};
  std::vector<std::vector<FitPoint>> points;  // of every shape with enough of them
  std::vector<FitPoint> all;
  for (const ShapeRows& shape : kernel.shapes) {
    std::vector<FitPoint> own = ChosenPoints(shape, chosen);
    all.insert(all.end(), own.begin(), own.end());
    if (own.size() < kFewestPoints) continue;
    profile.shapes.push_back({.shape = shape.shape, .fit = {}, .rows = {}});
    points.push_back(std::move(own));
  }
  if (all.size() < kFewestPoints) return profile;
  const double passes =
      hint == nullptr ? FitRowsPerPass(form, points) : hint->any_shape.rows_per_pass;
  profile.any_shape =
      hint == nullptr ? FitAt(form, all, passes).fit : FitLike(form, all, hint->any_shape);
  for (size_t i = 0; i < points.size(); ++i) {
    ShapeProfile& shape = profile.shapes[i];
    const ShapeProfile* known = hint == nullptr ? nullptr : FindShape(*hint, shape.shape);
    const bool few = points[i].size() < kFewPoints;
    const std::vector<FitPoint> fitted = WithBorrowed(points, i);
    if (known != nullptr) {
      shape.fit = FitLike(form, fitted, known->fit);
    } else {
      shape.fit = few ? FitLike(form, fitted, profile.any_shape) : FitAt(form, fitted, passes).fit;
    }
  }
  std::vector<const KernelFit*> fits;
  for (const ShapeProfile& shape : profile.shapes) fits.push_back(&shape.fit);
  ForEachGroup(points, fits, [&](const Group& group, size_t first) {
    WeighRows(form, group, std::span(profile.shapes).subspan(first, group.points.size()));
  });
  return profile;
}

std::vector<Prediction> PredictPoints(const KernelRows& kernel, const KernelProfile& profile,
                                      const Chosen& chosen) {
  const KernelCurve curve(profile);
  std::vector<Prediction> predictions;
  for (const ShapeRows& shape : kernel.shapes) {
    const std::optional<size_t> found = curve.FindShape(shape.shape);
    for (const Point& point : shape.points) {
      if (!chosen(point)) continue;
      predictions.push_back({.point = &point, .time = curve.At(point.fit.features, found, 0)});
    }
  }
  return predictions;
}

KernelProfile FitKernel(const KernelRows& kernel, const Chosen& chosen) {
  KernelProfile profile = FitCurves(kernel, chosen, nullptr);
  profile.measured = SpreadBand(kernel, chosen);
  // Too few points to say: half as wrong as the correction may be large, and as that.
  constexpr ErrorBand kUnknown{.half80 = kMostCorrection / 2, .half95 = kMostCorrection};
  LabelledErrors errors = FoldErrors(kernel, chosen, profile);
  profile.interpolated =
      Wider(profile.measured, BandOf(std::move(errors.inside)).value_or(kUnknown));
  AddFrontierErrors(kernel, chosen, profile, errors);
  profile.extrapolated =
      Wider(profile.interpolated, BandOf(std::move(errors.outside)).value_or(ErrorBand{}));
  profile.unseen_shape =
      Wider(profile.extrapolated,
            BandOf(UnseenShapeErrors(kernel, chosen, profile)).value_or(ErrorBand{}));
  return profile;
}

std::vector<PointError> LeaveOneOut(const KernelRows& kernel, const KernelProfile& profile) {
  std::vector<const Point*> seen;
  std::vector<std::vector<FitPoint>> points;
  std::vector<const KernelFit*> fits;
  for (const ShapeRows& shape : kernel.shapes) {
    const ShapeProfile* fitted = FindShape(profile, shape.shape);
    if (fitted == nullptr) continue;
    for (const Point& point : shape.points) seen.push_back(&point);
    points.push_back(ChosenPoints(shape, [](const Point&) { return true; }));
    fits.push_back(&fitted->fit);
  }
  std::vector<PointError> errors;
  ForEachGroup(points, fits, [&](const Group& group, size_t) {
    const Eigen::MatrixXd inverse = CovarianceOf(kernel.form(), group).inverse();
    const Eigen::VectorXd weights = inverse * Corrections(kernel.form(), group);
    for (Eigen::Index i = 0; i < weights.size(); ++i) {
      errors.push_back({.point = seen[errors.size()], .log_error = weights(i) / inverse(i, i)});
    }
  });
  return errors;
}

}  // namespace moecast::calibration
