// A MoE-CAP record: every row is kept or counted, every error has a place, nothing crashes.
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>

#include "calibration/import/moe_cap.h"
#include "sim/base/check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  moecast::calibration::ImportTarget target{
      .gpu = "g", .engine = "e-1", .device = {}, .expert_tile_rows = 16};
  target.device.hbm_bandwidth = moecast::BytesPerSecond(1e12);
  target.device.peak.fill(moecast::FlopsPerSecond(1e15));
  const auto imported = moecast::calibration::ImportMoeCap(
      std::string(reinterpret_cast<const char*>(data), size), "record.jsonl", target);
  if (!imported.ok()) {
    for (const moecast::Error& error : imported.errors()) SIM_CHECK(!error.where.empty());
    return 0;
  }
  int64_t kept = 0;
  for (const auto& file : imported->files) {
    int64_t left_out = 0;
    for (const auto& [reason, count] : file.left_out) left_out += count;
    SIM_CHECK(file.kept + left_out == file.rows);
    kept += file.kept;
  }
  SIM_CHECK(kept == static_cast<int64_t>(imported->rows.size()));
  for (const auto& row : imported->rows) {
    SIM_CHECK(row.time_ns > 0);
    for (const double value : row.features.values) SIM_CHECK(std::isfinite(value) && value >= 0);
  }
  return 0;
}
