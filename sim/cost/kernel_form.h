// KernelForm: for each kind of kernel, which features are its shape, which vary, and which work its
// time is modelled from. The only copy; fits and predictions both use it.
// docs/model/calibration.md.
#pragma once

#include <boost/container/small_vector.hpp>
#include <cmath>
#include <span>
#include <string_view>

#include "sim/cost/kernel_features.h"
#include "sim/cost/profile.h"

namespace moecast {

/// What one launch does, in elements, rows or operations; the fit's coefficients carry the rest.
struct KernelWork {
  std::array<double, kMemoryTerms> memory{};
  double compute = 0;
  double chain = 0;  // what one expert's units do one after the other
};

using KernelAxes = std::array<double, kMostAxes>;
inline constexpr size_t kCoordinates = 4;
using KernelPlace = std::array<double, kCoordinates>;

struct KernelForm {
  std::string_view op;             // empty: the form of every op not named here
  std::string_view variant;        // empty: of every variant that has no form of its own
  std::span<const Feature> shape;  // identify a shape, which is fitted on its own rows
  std::span<const Feature> axes;   // vary within a shape; at most kMostAxes
  /// Where a point lies for interpolation: octaves (log2) of what its time varies with.
  KernelPlace (*place)(const KernelAxes& axes);
  bool has_passes;  // the work depends on rows_per_pass
  KernelWork (*work)(const KernelFeatures& f, double rows_per_pass);
  double alike = 0.9;  // how much ln(time / fit) of two shapes at one place is: 1 as of one shape
};

/// The form of a variant of an op; an unknown op has the general form over bytes and FLOPs.
const KernelForm& FormOf(std::string_view op, std::string_view variant = {});

/// Only the form's shape features of `f`.
KernelFeatures ShapeOf(const KernelForm& form, const KernelFeatures& f);
/// Whether `a` and `b` have the same shape features.
bool SameShape(const KernelForm& form, const KernelFeatures& a, const KernelFeatures& b);
/// How far apart two shapes are for a kernel that runs both alike: 0 for the same, infinite where
/// rows of one say nothing of the other. Only the group and the residual window of a KV scheme may
/// differ: the first by what it moves the bytes, the second by an octave.
double ShapeDistance(const KernelForm& form, const KernelFeatures& a, const KernelFeatures& b);
/// The form's axes of `f`, in order; the rest 0.
KernelAxes AxesOf(const KernelForm& form, const KernelFeatures& f);

/// Whether a launch lies at one place for both.
inline bool LieAlike(const KernelForm& a, const KernelForm& b) {
  return a.place == b.place && a.axes.data() == b.axes.data();
}

/// A launch to predict: its features and where they lie, for curves of forms that lie alike.
/// REQUIRES: the form and the features outlive it.
struct Launch {
  Launch(const KernelForm& of, const KernelFeatures& f)
      : form(&of), features(f), axes(AxesOf(of, f)), place(of.place(axes)) {}
  const KernelForm* form;
  const KernelFeatures& features;
  KernelAxes axes;
  KernelPlace place;
};

/// A launch as kernels of several forms see it. REQUIRES: the features outlive it.
class Launches {
 public:
  explicit Launches(const KernelFeatures& f) : features_(&f) {}
  [[nodiscard]] const KernelFeatures& features() const { return *features_; }
  /// Worked out once for forms that lie alike.
  [[nodiscard]] Launch Of(const KernelForm& form) {
    for (const Launch& each : known_) {
      if (LieAlike(*each.form, form)) return each;
    }
    return known_.emplace_back(form, *features_);
  }

 private:
  const KernelFeatures* features_;
  boost::container::small_vector<Launch, 2> known_;
};

/// Octaves squared.
inline double SquaredDistance(const KernelPlace& a, const KernelPlace& b) {
  double square = 0;
  for (size_t i = 0; i < kCoordinates; ++i) square += (a[i] - b[i]) * (a[i] - b[i]);
  return square;
}
/// How alike the ln(time / fit) of two places at this distance are: 1 at none, 0 from kReach on. A
/// polynomial of compact support, positive definite in up to five dimensions [Wendland95]. `Real`:
/// double where weights are solved for, float where many rows are summed.
template <class Real>
inline constexpr Real kReach = 8;
template <class Real>
inline Real CovarianceAt(Real squared_octaves) {
  constexpr Real kFar = kReach<Real> * kReach<Real>;
  // Cut first, so that a loop over rows has no branch.
  const Real square = squared_octaves < kFar ? squared_octaves : kFar;
  const Real ratio = std::sqrt(square) / kReach<Real>;
  const Real fade = (1 - ratio) * (1 - ratio);
  return fade * fade * (1 - ratio) * (5 * ratio + 1);
}

/// Memory, compute and chain.
inline constexpr size_t kParts = 3;
/// Time of each part alone, seconds.
std::array<double, kParts> PartsOf(const KernelFit& fit, const KernelWork& work);
/// The p-norm of the parts.
double NormOfParts(const std::array<double, kParts>& parts, double sharpness);
/// Eq. 1 of docs/model/calibration.md, seconds: fixed and the norm of the parts.
double FitTime(const KernelFit& fit, const KernelWork& work);

}  // namespace moecast
