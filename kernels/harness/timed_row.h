// TimedRow: what a row of any suite has, its op and the columns that timing it fills.
#pragma once

#include <string>
#include <vector>

#include "kernels/harness/stopping_rule.h"

namespace moecast::kernels {

struct TimedRow {
  std::string op;
  double launches = 0;    // in one sample
  double samples = 0;     // kept
  double discarded = 0;   // taken while the card was held back
  SampleSummary time_us;  // of one launch
  std::string stop;       // StopReason
  double sm_mhz = 0;
  double power_w = 0;
  double reasons = 0;              // NVML event reason bits seen with the kept samples
  std::vector<double> samples_us;  // kept apart from the CSV row
};

/// Calls visit(column, member) for the columns of timing in file order: launches to reasons. Row is
/// TimedRow or const of it.
template <class Row, class Visit>
void VisitTiming(Row& row, Visit visit) {
  visit("launches", row.launches);
  visit("samples", row.samples);
  visit("discarded", row.discarded);
  visit("median_us", row.time_us.median);
  visit("min_us", row.time_us.min);
  visit("p05_us", row.time_us.p05);
  visit("p25_us", row.time_us.p25);
  visit("p75_us", row.time_us.p75);
  visit("p95_us", row.time_us.p95);
  visit("stop", row.stop);
  visit("sm_mhz", row.sm_mhz);
  visit("power_w", row.power_w);
  visit("reasons", row.reasons);
}

}  // namespace moecast::kernels
