// Kernel fits: the points of one kernel become its profile, without and with knowledge of its
// error.
#pragma once

#include <functional>
#include <vector>

#include "calibration/kernel_rows.h"
#include "sim/cost/kernel_curve.h"

namespace moecast::calibration {

/// A shape needs this many points for a fit of its own.
inline constexpr size_t kFewestPoints = 4;

/// Which points a fit may see.
using Chosen = std::function<bool(const Point&)>;

/// Coefficients and correction of every shape with enough chosen points, and the fit over all
/// chosen points; bands are left 0. `hint`, a fit of more points of the same kernel, fixes
/// sharpness and pass length, which takes a thirtieth of the time; without one they are searched.
/// RETURNS: no shapes and a zero fit when fewer than kFewestPoints are chosen.
KernelProfile FitCurves(const KernelRows& kernel, const Chosen& chosen, const KernelProfile* hint);

/// What a profile said about a point it had not seen.
struct Prediction {
  const Point* point = nullptr;
  KernelTime time;
  [[nodiscard]] double log_error() const;  // ln(measured / predicted)
};

/// Predictions of `profile` for every chosen point. Points of unfitted shapes are answered by the
/// fit over all shapes.
std::vector<Prediction> PredictPoints(const KernelRows& kernel, const KernelProfile& profile,
                                      const Chosen& chosen);

/// FitCurves, and bands from cross-validation inside the chosen points: interpolated from five
/// folds, extrapolated from the last octave of each shape's first coordinate, unseen shapes from
/// leaving out one shape at a time, measured from the spread of repeated samples. Where a kernel
/// has too few points for one of them the next wider band stands in.
KernelProfile FitKernel(const KernelRows& kernel, const Chosen& chosen);

/// ln(measured / what the other rows say) of a point.
struct PointError {
  const Point* point = nullptr;
  double log_error = 0;
};

/// Leave-one-out errors of the correction, for every point of the fitted shapes, in order: how far
/// each row is from what its neighbours say.
std::vector<PointError> LeaveOneOut(const KernelRows& kernel, const KernelProfile& profile);

}  // namespace moecast::calibration
