#include "calibration/suspects.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "calibration/kernel_fit.h"
#include "sim/base/stats.h"
#include "sim/base/text.h"

namespace moecast::calibration {
namespace {

constexpr double kLeast = 0.10;     // of ln(measured / expected)
constexpr double kTimesMedian = 4;  // of the kernel's absolute errors
constexpr double kPercent = 100;
constexpr double kNsPerUs = 1e3;
constexpr int kUsDigits = 2;

std::string Percent(double log_ratio) {
  return Fixed(kPercent * (std::exp(log_ratio) - 1), 1) + " %";
}

double MedianError(const std::vector<PointError>& errors) {
  std::vector<double> sizes;
  sizes.reserve(errors.size());
  for (const PointError& each : errors) sizes.push_back(std::abs(each.log_error));
  return sizes.empty() ? 0 : Quantile(sizes, 0.5);
}

bool NowhereMore(const KernelAxes& a, const KernelAxes& b) {
  for (size_t i = 0; i < kMostAxes; ++i) {
    if (a[i] > b[i]) return false;
  }
  return true;
}

/// The slowest row that does no more than `point` and takes clearly longer; null without one.
const Point* SlowerWithLess(const KernelForm& form, const ShapeRows& shape, const Point& point) {
  const KernelAxes axes = AxesOf(form, point.fit.features);
  const Point* slowest = nullptr;
  for (const Point& other : shape.points) {
    if (&other == &point || !NowhereMore(AxesOf(form, other.fit.features), axes)) continue;
    if (other.fit.seconds <= point.fit.seconds * std::exp(kLeast)) continue;
    if (slowest == nullptr || other.fit.seconds > slowest->fit.seconds) slowest = &other;
  }
  return slowest;
}

SuspectRow Suspect(const Point& point, std::string why) {
  return {.source = point.row->source,
          .kernel = DescribeRow(*point.row) + ", " +
                    Fixed(point.row->time_ns / kNsPerUs, kUsDigits) + " us",
          .why = std::move(why)};
}

}  // namespace

std::vector<SuspectRow> FindSuspects(const KernelRows& kernel, const KernelProfile& profile) {
  std::vector<SuspectRow> suspects;
  const std::vector<PointError> errors = LeaveOneOut(kernel, profile);
  const double limit = std::max(kLeast, kTimesMedian * MedianError(errors));
  for (const PointError& each : errors) {
    if (std::abs(each.log_error) <= limit) continue;
    suspects.push_back(
        Suspect(*each.point, Percent(each.log_error) + " off what the rows around it say"));
  }
  for (const ShapeRows& shape : kernel.shapes) {
    for (const Point& point : shape.points) {
      const Point* slower = SlowerWithLess(kernel.form(), shape, point);
      if (slower == nullptr) continue;
      suspects.push_back(
          Suspect(point, "a dip: " + slower->row->source.Text() + " does no more work and takes " +
                             Fixed(slower->row->time_ns / kNsPerUs, kUsDigits) + " us"));
    }
  }
  return suspects;
}

}  // namespace moecast::calibration
