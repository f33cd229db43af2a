#include "calibration/composition.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <string>
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

/// Curves of a layer's launches: routing under every measured rule, both products in one launch or
/// in two, combine.
struct Parts {
  std::map<std::string, KernelCurve, std::less<>> routes;
  std::vector<KernelCurve> others;
};

/// Nothing when the profile lacks one. Router and combine work in bf16 whatever the experts'
/// format.
std::optional<Parts> PartCurves(const Profile& profile, const KernelRows& layer) {
  std::vector<const KernelProfile*> found{Find(profile, "combine", layer, kActivations)};
  if (const KernelProfile* both = Find(profile, "experts", layer, layer.format)) {
    found.push_back(both);
  } else {
    found.push_back(Find(profile, "gate_up", layer, layer.format));
    found.push_back(Find(profile, "down", layer, layer.format));
  }
  Parts parts;
  for (const KernelProfile* part : found) {
    if (part == nullptr) return std::nullopt;
    parts.others.emplace_back(*part);
  }
  for (const KernelProfile& kernel : profile.kernels) {
    if (kernel.op == "route") parts.routes.emplace(kernel.variant, KernelCurve(kernel));
  }
  return parts;
}

double SecondsOf(const KernelCurve& part, const KernelFeatures& f) {
  return part.At(f, part.FindShape(f), 0).seconds;
}

/// Nothing when the row's rule was not timed.
std::optional<double> SumOfParts(const Parts& parts, const KernelRow& row) {
  const auto route = parts.routes.find(row.rule);
  if (route == parts.routes.end()) return std::nullopt;
  double seconds = SecondsOf(route->second, row.features);
  for (const KernelCurve& part : parts.others) seconds += SecondsOf(part, row.features);
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
        const auto sum = SumOfParts(*parts, *point.row);
        if (!sum) continue;
        report.worst.push_back({.row = *point.row, .predicted_ns = *sum * kNsPerSecond});
        ratios.push_back(report.worst.back().ratio());
      }
    }
    if (ratios.empty()) continue;
    report.error = SummariseRatios(ratios);
    KeepWorst(report.worst, kWorst);
    reports.push_back(std::move(report));
  }
  return reports;
}

}  // namespace moecast::calibration
