// Fits: rows of one kernel become coefficients of its form. Robust, non-negative, relative errors.
// docs/model/calibration.md, "Fit".
#pragma once

#include <span>
#include <vector>

#include "sim/cost/kernel_form.h"
#include "sim/cost/profile.h"

namespace moecast::calibration {

/// A row as fits see it.
struct FitPoint {
  KernelFeatures features;
  double seconds = 0;
  double weight = 1;  // of the loss: rows it counts as
};

/// A fit and its soft-L1 loss.
struct FormFit {
  KernelFit fit;
  double loss = 0;
};

/// The coefficients that make FitTime(x) / seconds closest to 1 under a soft-L1 loss, at a pass
/// length and at the best of a few sharpnesses. Deterministic. REQUIRES: not empty, seconds > 0.
FormFit FitAt(const KernelForm& form, std::span<const FitPoint> points, double rows_per_pass);
/// The same at the pass length and sharpness of `like`.
KernelFit FitLike(const KernelForm& form, std::span<const FitPoint> points, const KernelFit& like);

/// The pass length that fits all shapes of a kernel together best: they run the same code.
double FitRowsPerPass(const KernelForm& form, const std::vector<std::vector<FitPoint>>& shapes);

}  // namespace moecast::calibration
