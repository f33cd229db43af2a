#include "calibration/calibrate.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

#include "calibration/composition.h"
#include "calibration/kernel_fit.h"
#include "calibration/suspects.h"
#include "sim/base/stats.h"

namespace moecast::calibration {
namespace {

constexpr size_t kWorst = 5;
constexpr double kNsPerSecond = 1e9;

bool Anyone(const Point&) { return true; }
bool IsKept(const Point& point) { return !IsHeldOut(point); }

std::string NameOf(const KernelRows& kernel) {
  return kernel.op + " " + kernel.format + (kernel.variant.empty() ? "" : " " + kernel.variant);
}

int64_t CountPoints(const KernelRows& kernel) {
  size_t count = 0;
  for (const ShapeRows& shape : kernel.shapes) count += shape.points.size();
  return static_cast<int64_t>(count);
}

/// Held-out predictions of every kernel, for the totals.
struct Totals {
  std::vector<double> ratios;
  std::vector<double> interpolated;  // of them, by what the prediction was called
  std::vector<double> extrapolated;
  double inside80 = 0;
  double inside95 = 0;
};

/// Fits the kernel without its held-out points and fills in how it predicts them.
void Judge(const KernelRows& kernel, KernelReport& report, Totals& totals) {
  const KernelProfile blind = FitKernel(kernel, IsKept);
  if (blind.shapes.empty()) return;  // too few rows without the held-out ones
  std::vector<double> ratios;
  for (const Prediction& each : PredictPoints(kernel, blind, IsHeldOut)) {
    const double error = std::abs(each.log_error());
    report.covered80 += error <= each.time.band.half80 ? 1 : 0;
    report.covered95 += error <= each.time.band.half95 ? 1 : 0;
    report.worst.push_back(
        {.row = *each.point->row, .predicted_ns = each.time.seconds * kNsPerSecond});
    ratios.push_back(report.worst.back().ratio());
    const bool inside = each.time.label != Label::kExtrapolated;
    (inside ? totals.interpolated : totals.extrapolated).push_back(ratios.back());
  }
  if (ratios.empty()) return;
  report.held_out = SummariseRatios(ratios);
  totals.ratios.insert(totals.ratios.end(), ratios.begin(), ratios.end());
  totals.inside80 += report.covered80;
  totals.inside95 += report.covered95;
  report.covered80 /= static_cast<double>(ratios.size());
  report.covered95 /= static_cast<double>(ratios.size());
  KeepWorst(report.worst, kWorst);
}

std::vector<std::string> UnfittedShapes(const KernelRows& kernel, const KernelProfile& profile) {
  std::vector<std::string> names;
  for (const ShapeRows& shape : kernel.shapes) {
    const bool fitted =
        std::any_of(profile.shapes.begin(), profile.shapes.end(),
                    [&shape](const ShapeProfile& each) { return each.shape == shape.shape; });
    if (!fitted) {
      names.push_back(shape.points.front().row->label + " (" + std::to_string(shape.points.size()) +
                      " rows)");
    }
  }
  return names;
}

/// Rows per expert's tile that the rows were padded with: what an expert with one row counts.
int64_t TileRows(const std::vector<KernelRow>& rows) {
  double least = 0;
  for (const KernelRow& row : rows) {
    const KernelFeatures& f = row.features;
    if (f[Feature::kPaddedRows] <= 0 || f[Feature::kDistinct] <= 0) continue;
    const double padded = f[Feature::kPaddedRows] / f[Feature::kDistinct];
    if (least == 0 || padded < least) least = padded;
  }
  return static_cast<int64_t>(std::lround(least));
}

void CountRefusals(const std::vector<RefusedRow>& refused, std::vector<ProfileSource>& files) {
  for (ProfileSource& file : files) {
    file.refused = std::count_if(refused.begin(), refused.end(), [&file](const RefusedRow& row) {
      return row.source.file == file.file;
    });
    file.rows -= file.refused;
  }
}

/// The kernel's profile and report, or a line that says why it has none.
void AddKernel(const KernelRows& kernel, Calibration& out, Totals& totals) {
  KernelProfile profile = FitKernel(kernel, Anyone);
  if (profile.shapes.empty()) {
    out.report.unfitted_kernels.push_back(NameOf(kernel) + " (" +
                                          std::to_string(CountPoints(kernel)) + " rows)");
    return;
  }
  KernelReport report{.op = kernel.op,
                      .variant = kernel.variant,
                      .format = kernel.format,
                      .rows = CountPoints(kernel),
                      .shapes = static_cast<int64_t>(profile.shapes.size()),
                      .unfitted = UnfittedShapes(kernel, profile),
                      .held_out = {}};
  Judge(kernel, report, totals);
  report.suspects = FindSuspects(kernel, profile);
  profile.held_out = report.held_out;
  out.profile.kernels.push_back(std::move(profile));
  out.report.kernels.push_back(std::move(report));
}

/// Why nothing was fitted: every row refused, or the first kernels, with their rows.
std::string NothingToFit(const CalibrationReport& report) {
  constexpr size_t kNamed = 5;
  const std::vector<std::string>& kernels = report.unfitted_kernels;
  if (kernels.empty() && !report.refused.empty()) {
    const RefusedRow& first = report.refused.front();
    return "every row is refused; the first, " + first.kernel + ", is " + first.why +
           ": are times in another unit, or of another GPU?";
  }
  std::string text = "no kernel has a shape with " + std::to_string(kFewestPoints) +
                     " rows or more, which a fit needs";
  for (size_t i = 0; i < std::min(kernels.size(), kNamed); ++i) {
    text += (i == 0 ? ": " : ", ") + kernels[i];
  }
  return text + (kernels.size() > kNamed ? ", ..." : "");
}

}  // namespace

HeldOutError SummariseRatios(const std::vector<double>& ratios) {
  std::vector<double> sizes;
  double bias = 0;
  for (const double ratio : ratios) {
    sizes.push_back(std::abs(ratio - 1));
    bias += ratio - 1;
  }
  const auto count = static_cast<double>(ratios.size());
  return {.points = static_cast<int64_t>(ratios.size()),
          .mean = Mean(sizes),
          .median = Quantile(sizes, 0.5),
          .p90 = Quantile(sizes, 0.9),
          .p95 = Quantile(sizes, 0.95),
          .bias = bias / count};
}

Result<Calibration> Calibrate(const Measurements& measurements, const std::string& name) {
  SIM_TRY(CleanRows clean, Clean(measurements));
  Calibration out{.profile = {.name = name,
                              .gpu = measurements.card.gpu,
                              .engine = measurements.engine,
                              .expert_tile_rows = TileRows(clean.rows),
                              .sources = measurements.files,
                              .kernels = {}},
                  .report = {.rows_read = static_cast<int64_t>(measurements.rows.size()),
                             .merged = clean.merged,
                             .refused = clean.refused,
                             .unexplained = clean.unexplained,
                             .superseded = measurements.superseded,
                             .ceilings = measurements.ceilings,
                             .ignored_columns = measurements.ignored_columns,
                             .unfitted_kernels = {},
                             .kernels = {},
                             .composition = {},
                             .all = {},
                             .interpolated = {},
                             .extrapolated = {}}};
  CountRefusals(clean.refused, out.profile.sources);
  Totals totals;
  const std::vector<KernelRows> kernels = GroupRows(clean.rows);
  for (const KernelRows& kernel : kernels) AddKernel(kernel, out, totals);
  if (out.profile.kernels.empty()) {
    const bool refused = out.report.unfitted_kernels.empty() && !out.report.refused.empty();
    return Error{NothingToFit(out.report), refused ? out.report.refused.front().source.Text() : ""};
  }
  if (!totals.ratios.empty()) {
    out.report.all = SummariseRatios(totals.ratios);
    if (!totals.interpolated.empty())
      out.report.interpolated = SummariseRatios(totals.interpolated);
    if (!totals.extrapolated.empty())
      out.report.extrapolated = SummariseRatios(totals.extrapolated);
    out.report.covered80 = totals.inside80 / static_cast<double>(totals.ratios.size());
    out.report.covered95 = totals.inside95 / static_cast<double>(totals.ratios.size());
  }
  out.report.composition = CompareComposition(kernels, out.profile);
  return out;
}

}  // namespace moecast::calibration
