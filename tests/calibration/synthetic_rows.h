// Rows whose times follow a known law, so that what a fit must find is known.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "calibration/measurement_table.h"

namespace moecast::test {

/// Times of a made-up card: t = 5 us + max-like norm of weights at 3 TB/s and products at 500
/// TFLOP/s.
inline double LawUs(double distinct, double padded_rows) {
  const double expert_elements = 2.0 * 2048 * 768;
  const double memory = distinct * expert_elements * 2 / 3e6;        // us at 3e6 bytes/us
  const double compute = 2 * padded_rows * expert_elements / 500e6;  // us at 5e8 FLOP/us
  return 5 + std::pow(std::pow(memory, 3) + std::pow(compute, 3), 1.0 / 3);
}

inline calibration::KernelRow GateUpRow(double distinct, double rows_per_expert, int line) {
  const double assignments = distinct * rows_per_expert;
  const double padded = distinct * std::ceil(rows_per_expert / 8) * 8;
  calibration::KernelRow row{.op = "gate_up", .format = "bf16", .label = "made up"};
  row.features[Feature::kTokens] = std::max(1.0, assignments / 8);
  row.features[Feature::kAssignments] = assignments;
  row.features[Feature::kDistinct] = distinct;
  row.features[Feature::kPaddedRows] = padded;
  row.features[Feature::kMaxLoad] = rows_per_expert;
  row.features[Feature::kHidden] = 2048;
  row.features[Feature::kIntermediate] = 768;
  row.features[Feature::kExperts] = 128;
  row.features[Feature::kTopK] = 8;
  row.features[Feature::kBytes] = distinct * 2 * 2048 * 768 * 2;
  row.features[Feature::kFlops] = 4 * assignments * 2048 * 768;
  row.time_ns = 1e3 * LawUs(distinct, padded);
  row.spread_ns = 0.01 * row.time_ns;
  row.source = {.file = "made_up.csv", .line = line};
  return row;
}

/// 8 x 9 points of one shape on a card of 4.8 TB/s and 990 TFLOP/s.
inline calibration::Measurements LawMeasurements() {
  calibration::Measurements m{
      .card = {.gpu = "h200_sxm", .hbm_bytes_per_s = 4.8e12, .bf16_flop_per_s = 9.9e14},
      .engine = "",
      .rows = {},
      .refused = {},
      .files = {{.file = "made_up.csv", .sha256 = "0", .rows = 72}},
      .ceilings = {},
      .ignored_columns = {}};
  int line = 1;
  for (double distinct = 1; distinct <= 128; distinct *= 2) {
    for (double load = 1; load <= 256; load *= 2) {
      m.rows.push_back(GateUpRow(distinct, load, ++line));
    }
  }
  return m;
}

}  // namespace moecast::test
