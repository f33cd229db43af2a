#include "sim/cost/kernel_curve.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "sim/base/check.h"
#include "sim/base/text.h"

namespace moecast {
namespace {

constexpr double kUsPerSecond = 1e6;
/// Rows state five significant digits; closer is the same place.
constexpr double kSameRatio = 1e-4;
/// Places farther apart (octaves squared) are not looked at as the same.
constexpr double kSameSquare = 1e-4;
/// A point this little (octaves) outside the rows' range on a coordinate is as good as inside.
constexpr double kRangeSlack = 0.1;
/// A point inside the rows' range but this far (octaves) from every row is not interpolated.
constexpr double kFarOctaves = 2;

bool SameAxes(const KernelAxes& a, const KernelAxes& b) {
  for (size_t i = 0; i < kMostAxes; ++i) {
    if (std::abs(a[i] - b[i]) > kSameRatio * std::max(a[i], b[i])) return false;
  }
  return true;
}

size_t RowCount(const KernelProfile& kernel) {
  size_t count = 0;
  for (const ShapeProfile& shape : kernel.shapes) count += shape.rows.size();
  return count;
}

/// What rows of other shapes add to the correction of `shape`, summed by place.
std::map<KernelPlace, double> WeightsOfOthers(const KernelForm& form, const KernelProfile& kernel,
                                              size_t shape) {
  std::map<KernelPlace, double> weights;
  if (!CorrectTogether(RowCount(kernel))) return weights;
  for (size_t other = 0; other < kernel.shapes.size(); ++other) {
    if (other == shape) continue;
    for (const ProfileRow& row : kernel.shapes[other].rows) {
      weights[form.place(row.axes)] += form.alike * row.weight;
    }
  }
  return weights;
}

}  // namespace

ShapeCurve::ShapeCurve(const KernelForm& form, const KernelProfile& kernel, size_t shape)
    : form_(&form),
      shape_(kernel.shapes[shape].shape),
      fit_(kernel.shapes[shape].fit),
      rows_(kernel.shapes[shape].rows) {
  least_.fill(std::numeric_limits<double>::infinity());
  most_.fill(-std::numeric_limits<double>::infinity());
  std::map<KernelPlace, double> others = WeightsOfOthers(form, kernel, shape);
  std::vector<WeighedPlace> own;
  for (const ProfileRow& row : rows_) {
    own.push_back({.place = form.place(row.axes), .weight = row.weight});
    if (const auto same = others.extract(own.back().place)) own.back().weight += same.mapped();
    for (size_t i = 0; i < kCoordinates; ++i) {
      least_[i] = std::min(least_[i], own.back().place[i]);
      most_[i] = std::max(most_[i], own.back().place[i]);
    }
  }
  AppendBlocks(own);
  own_blocks_ = blocks_.size();
  std::vector<WeighedPlace> rest;
  rest.reserve(others.size());
  for (const auto& [place, weight] : others) rest.push_back({.place = place, .weight = weight});
  AppendBlocks(rest);
}

void ShapeCurve::AppendBlocks(const std::vector<WeighedPlace>& places) {
  RowBlock empty{};
  for (auto& coordinate : empty.place) coordinate.fill(std::numeric_limits<float>::infinity());
  for (size_t row = 0; row < places.size(); ++row) {
    if (row % kBlockRows == 0) blocks_.push_back(empty);
    RowBlock& block = blocks_.back();
    block.weight[row % kBlockRows] = static_cast<float>(places[row].weight);
    for (size_t i = 0; i < kCoordinates; ++i) {
      block.place[i][row % kBlockRows] = static_cast<float>(places[row].place[i]);
    }
  }
}

[[gnu::always_inline]] inline ShapeCurve::Interpolation ShapeCurve::SumRows(
    const KernelPlace& place) const {
  static_assert(kCoordinates == 4);
  using Lanes = std::array<float, kBlockRows>;
  std::array<float, kCoordinates> from{};
  for (size_t i = 0; i < kCoordinates; ++i) from[i] = static_cast<float>(place[i]);
  Lanes sums{};
  Lanes nearest;
  nearest.fill(std::numeric_limits<float>::infinity());
  for (size_t each = 0; each < blocks_.size(); ++each) {
    const RowBlock& block = blocks_[each];
    Lanes square;
    for (size_t row = 0; row < kBlockRows; ++row) {
      const float a = from[0] - block.place[0][row];
      const float b = from[1] - block.place[1][row];
      const float c = from[2] - block.place[2][row];
      const float d = from[3] - block.place[3][row];
      square[row] = a * a + b * b + c * c + d * d;
      sums[row] += block.weight[row] * CovarianceAt(square[row]);
    }
    if (each >= own_blocks_) continue;
    for (size_t row = 0; row < kBlockRows; ++row) {
      nearest[row] = square[row] < nearest[row] ? square[row] : nearest[row];
    }
  }
  Interpolation sum{.nearest = std::numeric_limits<double>::infinity()};
  for (size_t row = 0; row < kBlockRows; ++row) {
    sum.correction += static_cast<double>(sums[row]);
    sum.nearest = std::min(sum.nearest, static_cast<double>(nearest[row]));
  }
  return sum;
}

#if defined(__x86_64__)
[[gnu::target("avx2")]] ShapeCurve::Interpolation ShapeCurve::InterpolateWide(
    const KernelPlace& place) const {
  return SumRows(place);
}
ShapeCurve::Interpolation ShapeCurve::Interpolate(const KernelPlace& place) const {
  static const bool wide = __builtin_cpu_supports("avx2") != 0;
  return wide ? InterpolateWide(place) : SumRows(place);
}
#else
ShapeCurve::Interpolation ShapeCurve::Interpolate(const KernelPlace& place) const {
  return SumRows(place);
}
#endif

bool ShapeCurve::InRange(const KernelPlace& place, double slack) const {
  bool inside = true;
  for (size_t i = 0; i < kCoordinates; ++i) {
    inside = inside && place[i] >= least_[i] - slack && place[i] <= most_[i] + slack;
  }
  return inside;
}

const ProfileRow* ShapeCurve::RowAt(const KernelAxes& axes) const {
  const auto found = std::find_if(rows_.begin(), rows_.end(), [&axes](const ProfileRow& row) {
    return SameAxes(axes, row.axes);
  });
  return found == rows_.end() ? nullptr : &*found;
}

KernelTime ShapeCurve::At(const Launch& launch) const {
  const auto [correction, nearest] = Interpolate(launch.place);
  if (nearest <= kSameSquare) {
    if (const ProfileRow* row = RowAt(launch.axes)) {
      return {.seconds = row->seconds, .label = Label::kMeasured, .band = {}};
    }
  }
  const double fit = FitTime(fit_, form_->work(launch.features, fit_.rows_per_pass));
  const double bounded = std::clamp(correction, -kMostCorrection, kMostCorrection);
  const bool inside = nearest <= kFarOctaves * kFarOctaves && InRange(launch.place, kRangeSlack);
  return {.seconds = fit * std::exp(bounded),
          .label = inside ? Label::kInterpolated : Label::kExtrapolated,
          .band = {}};
}

bool ShapeCurve::InRange(const Launch& launch) const { return InRange(launch.place, kRangeSlack); }

bool ShapeCurve::IsNear(const Launch& launch) const { return InRange(launch.place, 1); }

std::string ShapeCurve::DescribeNearest(const KernelFeatures& f) const {
  SIM_CHECK(!rows_.empty());
  const KernelPlace place = form_->place(AxesOf(*form_, f));
  const auto square = [&](const ProfileRow& row) {
    return SquaredDistance(place, form_->place(row.axes));
  };
  const auto nearest = std::min_element(
      rows_.begin(), rows_.end(),
      [&](const ProfileRow& a, const ProfileRow& b) { return square(a) < square(b); });
  std::string text = "nearest";
  for (size_t i = 0; i < form_->axes.size(); ++i) {
    text += " " + std::string(FeatureName(form_->axes[i])) + " " +
            ShortestDouble(nearest->axes[i]) + ",";
  }
  return text + " " + Fixed(nearest->seconds * kUsPerSecond, 2) + " us, " +
         Fixed(std::sqrt(square(*nearest)), 1) + " octaves away";
}

KernelCurve::KernelCurve(const KernelProfile& profile)
    : form_(&FormOf(profile.op, profile.variant)),
      any_shape_(profile.any_shape),
      bands_{profile.measured, profile.interpolated, profile.extrapolated},
      unseen_shape_(profile.unseen_shape) {
  shapes_.reserve(profile.shapes.size());
  for (size_t i = 0; i < profile.shapes.size(); ++i) shapes_.emplace_back(*form_, profile, i);
}

std::optional<size_t> KernelCurve::FindShape(const KernelFeatures& f) const {
  std::optional<size_t> found;
  double least = std::numeric_limits<double>::infinity();
  for (size_t i = 0; i < shapes_.size(); ++i) {
    const double distance = ShapeDistance(*form_, shapes_[i].shape(), f);
    if (distance >= least) continue;
    least = distance;
    found = i;
  }
  return found;
}

KernelTime KernelCurve::At(const Launch& launch, std::optional<size_t> shape, double floor) const {
  SIM_CHECK(LieAlike(*launch.form, *form_));
  KernelTime time;
  if (shape) {
    time = shapes_[*shape].At(launch);
    time.band = bands_[static_cast<size_t>(time.label)];
  } else {
    time = {.seconds = FitTime(any_shape_, form_->work(launch.features, any_shape_.rows_per_pass)),
            .label = Label::kExtrapolated,
            .band = unseen_shape_};
  }
  time.seconds = std::max(time.seconds, floor);
  return time;
}

}  // namespace moecast
