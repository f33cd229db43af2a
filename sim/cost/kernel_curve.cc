#include "sim/cost/kernel_curve.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "sim/base/check.h"
#include "sim/base/text.h"

namespace moecast {
namespace {

constexpr double kUsPerSecond = 1e6;
/// Rows state five significant digits; closer is the same place.
constexpr double kSameRatio = 1e-4;
/// A point inside the rows' range but this far (octaves) from every row is not interpolated.
constexpr double kFarOctaves = 2;

bool SameAxes(const KernelAxes& a, const KernelAxes& b) {
  for (size_t i = 0; i < kMostAxes; ++i) {
    if (std::abs(a[i] - b[i]) > kSameRatio * std::max(a[i], b[i])) return false;
  }
  return true;
}

}  // namespace

ShapeCurve::ShapeCurve(const KernelForm& form, const ShapeProfile& profile)
    : form_(&form), shape_(profile.shape), fit_(profile.fit), rows_(profile.rows) {
  least_.fill(std::numeric_limits<double>::infinity());
  most_.fill(-std::numeric_limits<double>::infinity());
  for (const ProfileRow& row : rows_) {
    places_.push_back(form.place(row.axes));
    for (size_t i = 0; i < kCoordinates; ++i) {
      least_[i] = std::min(least_[i], places_.back()[i]);
      most_[i] = std::max(most_[i], places_.back()[i]);
    }
  }
}

KernelTime ShapeCurve::At(const KernelFeatures& f) const {
  const KernelAxes axes = AxesOf(*form_, f);
  const KernelPlace place = form_->place(axes);
  double correction = 0;
  double nearest = std::numeric_limits<double>::infinity();
  for (size_t i = 0; i < places_.size(); ++i) {
    const double square = SquaredDistance(place, places_[i]);
    nearest = std::min(nearest, square);
    correction += rows_[i].weight * CovarianceAt(square);
  }
  if (nearest <= kSameRatio) {
    for (const ProfileRow& row : rows_) {
      if (SameAxes(axes, row.axes)) {
        return {.seconds = row.seconds, .label = Label::kMeasured, .band = {}};
      }
    }
  }
  const double fit = FitTime(fit_, form_->work(f, fit_.rows_per_pass));
  const double bounded = std::clamp(correction, -kMostCorrection, kMostCorrection);
  bool inside = nearest <= kFarOctaves * kFarOctaves;
  for (size_t i = 0; i < kCoordinates; ++i) {
    inside = inside && place[i] >= least_[i] && place[i] <= most_[i];
  }
  return {.seconds = fit * std::exp(bounded),
          .label = inside ? Label::kInterpolated : Label::kExtrapolated,
          .band = {}};
}

std::string ShapeCurve::DescribeNearest(const KernelFeatures& f) const {
  SIM_CHECK(!rows_.empty());
  const KernelPlace place = form_->place(AxesOf(*form_, f));
  size_t best = 0;
  for (size_t i = 1; i < places_.size(); ++i) {
    if (SquaredDistance(place, places_[i]) < SquaredDistance(place, places_[best])) best = i;
  }
  std::string text = "nearest";
  for (size_t i = 0; i < form_->axes.size(); ++i) {
    text += " " + std::string(FeatureName(form_->axes[i])) + " " +
            ShortestDouble(rows_[best].axes[i]) + ",";
  }
  return text + " " + Fixed(rows_[best].seconds * kUsPerSecond, 2) + " us, " +
         Fixed(std::sqrt(SquaredDistance(place, places_[best])), 1) + " octaves away";
}

KernelCurve::KernelCurve(const KernelProfile& profile)
    : form_(&FormOf(profile.op)),
      any_shape_(profile.any_shape),
      bands_{profile.measured, profile.interpolated, profile.extrapolated},
      unseen_shape_(profile.unseen_shape) {
  for (const ShapeProfile& shape : profile.shapes) shapes_.emplace_back(*form_, shape);
}

std::optional<size_t> KernelCurve::FindShape(const KernelFeatures& f) const {
  const KernelFeatures shape = ShapeOf(*form_, f);
  for (size_t i = 0; i < shapes_.size(); ++i) {
    if (shapes_[i].shape() == shape) return i;
  }
  return std::nullopt;
}

KernelTime KernelCurve::At(const KernelFeatures& f, std::optional<size_t> shape,
                           double floor) const {
  KernelTime time;
  if (shape) {
    time = shapes_[*shape].At(f);
    time.band = bands_[static_cast<size_t>(time.label)];
  } else {
    time = {.seconds = FitTime(any_shape_, form_->work(f, any_shape_.rows_per_pass)),
            .label = Label::kExtrapolated,
            .band = unseen_shape_};
  }
  time.seconds = std::max(time.seconds, floor);
  return time;
}

}  // namespace moecast
