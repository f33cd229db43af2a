#include "calibration/composition.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <string_view>

#include "sim/cost/kernel_curve.h"

namespace moecast::calibration {
namespace {

constexpr std::string_view kActivations = "bf16";
constexpr size_t kWorst = 5;
constexpr double kNsPerSecond = 1e9;

const KernelProfile* Find(const Profile& profile, std::string_view op, const KernelRows& layer,
                          std::string_view format) {
  for (const KernelProfile& kernel : profile.kernels) {
    if (kernel.op == op && kernel.variant == layer.variant && kernel.format == format) {
      return &kernel;
    }
  }
  return nullptr;
}

/// Curves of a layer's launches: route, both products in one launch or in two, combine. Nothing
/// when the profile lacks one. Router and combine work in bf16 whatever the experts' format.
std::optional<std::vector<KernelCurve>> PartCurves(const Profile& profile,
                                                   const KernelRows& layer) {
  std::vector<const KernelProfile*> parts{Find(profile, "route", layer, kActivations),
                                          Find(profile, "combine", layer, kActivations)};
  if (const KernelProfile* both = Find(profile, "experts", layer, layer.format)) {
    parts.push_back(both);
  } else {
    parts.push_back(Find(profile, "gate_up", layer, layer.format));
    parts.push_back(Find(profile, "down", layer, layer.format));
  }
  std::vector<KernelCurve> curves;
  for (const KernelProfile* part : parts) {
    if (part == nullptr) return std::nullopt;
    curves.emplace_back(*part);
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
