// Fits: rows of one kernel become coefficients of its form. Robust, non-negative, relative errors.
// docs/model/calibration.md, "Fit".
#pragma once

#include <span>

#include "sim/cost/kernel_form.h"
#include "sim/cost/profile.h"

namespace moecast::calibration {

/// A row as fits see it.
struct FitPoint {
  KernelFeatures features;
  double seconds = 0;
};

/// The coefficients that make FitTime(x) / seconds closest to 1 under a soft-L1 loss, tried at each
/// of a few sharpnesses and pass lengths, or at those of `like` when there is one. Deterministic.
/// REQUIRES: not empty, seconds > 0.
KernelFit FitForm(const KernelForm& form, std::span<const FitPoint> points, const KernelFit* like);

}  // namespace moecast::calibration
