// What every import of kernel rows owes, whatever the bytes: each row is kept or counted, each
// error has a place, every number is one.
#pragma once

#include <cmath>
#include <cstdint>

#include "calibration/import/imported.h"
#include "sim/base/check.h"

namespace moecast::fuzz {

inline calibration::ImportTarget AnyTarget() {
  calibration::ImportTarget target{
      .gpu = "g", .engine = "e-1", .device = {}, .expert_tile_rows = 16};
  target.device.hbm_bandwidth = BytesPerSecond(1e12);
  target.device.peak.fill(FlopsPerSecond(1e15));
  return target;
}

inline void CheckImported(const Result<calibration::Imported>& imported) {
  if (!imported.ok()) {
    for (const Error& error : imported.errors()) SIM_CHECK(!error.where.empty());
    return;
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
}

}  // namespace moecast::fuzz
