// Hygiene: what is wrong with single rows, before any fit. docs/model/calibration.md, "Hygiene".
#pragma once

#include <vector>

#include "calibration/measurement_table.h"
#include "sim/base/result.h"

namespace moecast::calibration {

struct CleanRows {
  std::vector<KernelRow> rows;      // one per point, in the order of their first appearance
  std::vector<RefusedRow> refused;  // faster than the card's datasheet allows
  int64_t merged = 0;               // rows whose point has another row: the median time counts
  /// Rows of one point but of different loads, rules or other features that differ by more than
  /// kMostDisagreement:
  /// something that no feature tells apart.
  std::vector<RefusedRow> unexplained;
};

/// ERRORS: two rows of equal features and one label that differ by more than kMostDisagreement,
/// both named.
inline constexpr double kMostDisagreement = 0.25;
Result<CleanRows> Clean(const Measurements& measurements);

/// "op format variant, label": how messages and reports name a row's kernel.
std::string DescribeRow(const KernelRow& row);

/// The least time the card's datasheet allows: cold bytes at full bandwidth, operations at peak.
double PhysicalFloorNs(const KernelRow& row, const CardFacts& card);

}  // namespace moecast::calibration
