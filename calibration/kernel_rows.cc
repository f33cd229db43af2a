#include "calibration/kernel_rows.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "sim/base/fingerprint.h"
#include "sim/base/text.h"

namespace moecast::calibration {
namespace {

constexpr double kSecondsPerNs = 1e-9;

/// A hash of everything that names the point; its time has no part in it.
uint64_t PartOf(const KernelRow& row, const KernelForm& form) {
  std::string name = row.op + "|" + row.variant + "|" + row.format;
  for (const Feature feature : form.shape) name += "|" + ShortestDouble(row.features[feature]);
  for (const Feature feature : form.axes) name += "|" + ShortestDouble(row.features[feature]);
  Fingerprint hash;
  for (const char c : name) hash.Add(static_cast<uint64_t>(static_cast<unsigned char>(c)));
  return hash.value() % kPartCount;
}

}  // namespace

std::vector<KernelRows> GroupRows(const std::vector<KernelRow>& rows) {
  using Name = std::tuple<std::string, std::string, std::string>;
  std::map<Name, std::map<std::array<double, kFeatureCount>, std::vector<Point>>> groups;
  for (const KernelRow& row : rows) {
    const KernelForm& form = FormOf(row.op, row.variant);
    groups[{row.op, row.variant, row.format}][ShapeOf(form, row.features).values].push_back(
        {.row = &row,
         .fit = {.features = row.features, .seconds = row.time_ns * kSecondsPerNs},
         .part = PartOf(row, form)});
  }
  std::vector<KernelRows> kernels;
  for (auto& [name, shapes] : groups) {
    const auto& [op, variant, format] = name;
    KernelRows kernel{.op = op, .variant = variant, .format = format, .shapes = {}};
    const KernelForm& form = kernel.form();
    for (auto& [shape, points] : shapes) {
      std::stable_sort(points.begin(), points.end(), [&form](const Point& a, const Point& b) {
        return AxesOf(form, a.fit.features) < AxesOf(form, b.fit.features);
      });
      kernel.shapes.push_back({.shape = {.values = shape}, .points = std::move(points)});
    }
    kernels.push_back(std::move(kernel));
  }
  return kernels;
}

}  // namespace moecast::calibration
