#include "calibration/import/imported.h"

#include <algorithm>

namespace moecast::calibration {
namespace {

constexpr const char* kTooFast = "faster than the datasheet allows";
/// Of rows refused, above which another GPU is likelier than single broken rows.
constexpr double kSuspectShare = 0.05;

std::string FileLines(const FileImport& file) {
  std::string text =
      file.file + ": " + std::to_string(file.kept) + " of " + std::to_string(file.rows) + " rows\n";
  for (const auto& [reason, count] : file.left_out) {
    text += "  left out " + std::to_string(count) + ": " + reason + "\n";
  }
  if (!file.ignored_columns.empty()) {
    text += "  columns not used:";
    for (const std::string& name : file.ignored_columns) text += " " + name;
    text += "\n";
  }
  return text;
}

}  // namespace

void AddRow(Imported& into, KernelRow row, ComputeClass compute, const DeviceSpec& device) {
  FlopsPerSecond rate = device.peak_of(compute);
  if (rate.count() <= 0) rate = device.peak_of(ComputeClass::kBf16);
  const Seconds least = std::max(Bytes(row.features[Feature::kBytes]) / device.hbm_bandwidth,
                                 Flops(row.features[Feature::kFlops]) / rate);
  if (row.time_ns < least.count() * kNsPerSecond) {
    LeaveOut(into, kTooFast);
    into.refused.push_back(
        {.source = row.source,
         .kernel = row.op + " " + row.variant + " " + row.format + ", " + row.label,
         .why = kTooFast});
    return;
  }
  ++into.files.back().kept;
  into.rows.push_back(std::move(row));
}

void LeaveOut(Imported& into, const std::string& reason) { ++into.files.back().left_out[reason]; }

std::string Describe(const Imported& imported) {
  std::string text;
  int64_t rows = 0;
  for (const FileImport& file : imported.files) {
    text += FileLines(file);
    rows += file.rows;
  }
  text += std::to_string(imported.rows.size()) + " of " + std::to_string(rows) +
          " rows imported from " + std::to_string(imported.files.size()) + " files\n";
  const auto refused = static_cast<double>(imported.refused.size());
  if (refused > kSuspectShare * (refused + static_cast<double>(imported.rows.size()))) {
    text += "warning: " + std::to_string(imported.refused.size()) +
            " rows are faster than the datasheet allows; were they measured on this GPU?\n";
  }
  return text;
}

}  // namespace moecast::calibration
