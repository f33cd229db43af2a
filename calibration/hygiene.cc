#include "calibration/hygiene.h"

#include <algorithm>
#include <map>
#include <optional>
#include <tuple>
#include <utility>

#include "sim/base/stats.h"
#include "sim/base/text.h"
#include "sim/cost/kernel_form.h"

namespace moecast::calibration {
namespace {

constexpr double kNsPerSecond = 1e9;
constexpr double kNsPerUs = 1e3;
constexpr int kUsDigits = 2;
/// Of times that are too short to be true.
constexpr int kImpossibleDigits = 4;
/// Contradictions that are named; a table with more has one cause.
constexpr size_t kMostNamed = 10;
/// Measurements state five significant digits of both sides.
constexpr double kRounding = 1e-4;

std::string Us(double ns, int digits = kUsDigits) { return Fixed(ns / kNsPerUs, digits) + " us"; }

/// Rows with equal keys are the same point to every fit.
using PointKey = std::tuple<std::string, std::string, std::string,
                            std::array<double, kFeatureCount>, KernelAxes>;

PointKey KeyOf(const KernelRow& row) {
  const KernelForm& form = FormOf(row.op, row.variant);
  return {row.op, row.variant, row.format, ShapeOf(form, row.features).values,
          AxesOf(form, row.features)};
}

using Repeats = std::vector<const KernelRow*>;

/// Why the slowest of the repeats contradicts the fastest; nothing when they agree.
std::optional<RefusedRow> Contradiction(const Repeats& repeats) {
  const auto [fastest, slowest] = std::minmax_element(
      repeats.begin(), repeats.end(),
      [](const KernelRow* a, const KernelRow* b) { return a->time_ns < b->time_ns; });
  if ((*slowest)->time_ns <= (*fastest)->time_ns * (1 + kMostDisagreement)) return std::nullopt;
  return RefusedRow{.source = (*slowest)->source,
                    .kernel = DescribeRow(**slowest),
                    .why = "takes " + Us((*slowest)->time_ns) + ", but " +
                           (*fastest)->source.Text() + " measured the same point at " +
                           Us((*fastest)->time_ns)};
}

Status CheckAgreement(const Repeats& repeats) {
  using Launch = std::pair<std::string, std::array<double, kFeatureCount>>;
  std::map<Launch, Repeats> alike;
  for (const KernelRow* repeat : repeats) {
    alike[{repeat->label, repeat->features.values}].push_back(repeat);
  }
  for (const auto& [launch, same] : alike) {
    const auto found = Contradiction(same);
    if (!found) continue;
    return Error{found->kernel + " " + found->why +
                     "; repeated rows may differ by 25 %: remove the wrong one",
                 found->source.Text()};
  }
  return Ok();
}

/// The repeats as one row, which knows the card it was measured on.
KernelRow Merge(const Repeats& repeats, const CardFacts& card) {
  KernelRow row = *repeats.front();
  row.features[Feature::kMultiprocessors] = card.multiprocessors;
  row.features[Feature::kCacheBytes] = card.cache_bytes;
  std::vector<double> times;
  for (const KernelRow* repeat : repeats) {
    times.push_back(repeat->time_ns);
    row.spread_ns = std::max(row.spread_ns, repeat->spread_ns);
  }
  row.time_ns = Quantile(times, 0.5);
  return row;
}

}  // namespace

std::string DescribeRow(const KernelRow& row) {
  return row.op + " " + row.format + (row.variant.empty() ? "" : " " + row.variant) +
         (row.label.empty() ? "" : ", " + row.label);
}

double PhysicalFloorNs(const KernelRow& row, const CardFacts& card) {
  const double cold = row.features[Feature::kBytes] * (1 - row.warm_ratio);
  const bool eight_bits = row.format.starts_with("fp8") || row.format.starts_with("int8");
  const double peak = eight_bits ? card.fp8_flop_per_s : card.bf16_flop_per_s;
  const double compute = peak > 0 ? row.features[Feature::kFlops] / peak : 0;
  return kNsPerSecond * std::max(cold / card.hbm_bytes_per_s, compute);
}

Result<CleanRows> Clean(const Measurements& measurements) {
  CleanRows clean{.rows = {}, .refused = measurements.refused, .unexplained = {}};
  std::map<PointKey, size_t> index;
  std::vector<Repeats> points;  // in order of first appearance
  for (const KernelRow& row : measurements.rows) {
    const double floor = PhysicalFloorNs(row, measurements.card);
    if (row.time_ns < floor * (1 - kRounding)) {
      clean.refused.push_back({.source = row.source,
                               .kernel = DescribeRow(row),
                               .why = "faster than physics: " + Us(row.time_ns, kImpossibleDigits) +
                                      " where the datasheet of " + measurements.card.gpu +
                                      " allows " + Us(floor, kImpossibleDigits)});
      continue;
    }
    const auto [place, is_new] = index.emplace(KeyOf(row), points.size());
    if (is_new) points.emplace_back();
    points[place->second].push_back(&row);
  }
  Errors errors;
  size_t disagreeing = 0;
  for (const Repeats& repeats : points) {
    if (const Status agree = CheckAgreement(repeats); !agree.ok()) {
      if (++disagreeing <= kMostNamed) errors.push_back(agree.errors().front());
      continue;
    }
    if (auto found = Contradiction(repeats)) clean.unexplained.push_back(std::move(*found));
    clean.merged += static_cast<int64_t>(repeats.size()) - 1;
    clean.rows.push_back(Merge(repeats, measurements.card));
  }
  if (disagreeing > kMostNamed) {
    errors.push_back({"and " + std::to_string(disagreeing - kMostNamed) +
                          " more points whose rows disagree: are they of one GPU and one kernel?",
                      ""});
  }
  if (!errors.empty()) return errors;
  return clean;
}

}  // namespace moecast::calibration
