#include "calibration/composition.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <string_view>

#include "sim/cost/kernel_curve.h"

namespace moecast::calibration {
namespace {

constexpr std::array<std::string_view, 4> kParts{"route", "gate_up", "down", "combine"};
constexpr size_t kWorst = 5;
constexpr double kNsPerSecond = 1e9;

/// Curves of the four launches of a layer; nothing when the profile lacks one. The router stays in
/// bf16 whatever the experts' format.
std::optional<std::vector<KernelCurve>> PartCurves(const Profile& profile,
                                                   const KernelRows& layer) {
  std::vector<KernelCurve> curves;
  for (const std::string_view part : kParts) {
    const KernelProfile* found = nullptr;
    for (const KernelProfile& kernel : profile.kernels) {
      if (kernel.op != part || kernel.variant != layer.variant) continue;
      if (kernel.format == layer.format || (found == nullptr && kernel.format == "bf16")) {
        found = &kernel;
      }
    }
    const bool product = part == "gate_up" || part == "down";
    if (found == nullptr || (product && found->format != layer.format)) return std::nullopt;
    curves.emplace_back(*found);
  }
  return curves;
}

double SumOfParts(const std::vector<KernelCurve>& parts, const KernelFeatures& f) {
  double seconds = 0;
  for (const KernelCurve& part : parts) seconds += part.At(f, part.FindShape(f), 0).seconds;
  return seconds;
}

}  // namespace

void KeepWorst(std::vector<Miss>& misses, size_t count) {
  std::stable_sort(misses.begin(), misses.end(), [](const Miss& a, const Miss& b) {
    return std::abs(std::log(a.ratio())) > std::abs(std::log(b.ratio()));
  });
  if (misses.size() > count) misses.resize(count);
}

std::vector<CompositionReport> CompareComposition(const std::vector<KernelRows>& kernels,
                                                  const Profile& profile) {
  std::vector<CompositionReport> reports;
  for (const KernelRows& kernel : kernels) {
    if (kernel.op != "layer") continue;
    const auto parts = PartCurves(profile, kernel);
    if (!parts) continue;
    CompositionReport report{.format = kernel.format, .error = {}};
    std::vector<double> ratios;
    for (const ShapeRows& shape : kernel.shapes) {
      for (const Point& point : shape.points) {
        report.worst.push_back(
            {.row = *point.row,
             .predicted_ns = SumOfParts(*parts, point.fit.features) * kNsPerSecond});
        ratios.push_back(report.worst.back().ratio());
      }
    }
    report.error = SummariseRatios(ratios);
    KeepWorst(report.worst, kWorst);
    reports.push_back(std::move(report));
  }
  return reports;
}

}  // namespace moecast::calibration
