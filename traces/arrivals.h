// ArrivalProcess: the arrival instants of synthetic traffic. docs/model/workload.md, "Arrivals".
#pragma once

#include <cstdint>
#include <optional>

#include "sim/base/result.h"
#include "sim/base/rng.h"
#include "sim/base/units.h"
#include "traces/workload.h"

namespace moecast {

/// Every process starts at time 0 and its first arrival comes one gap later. Gaps are drawn in
/// order from RngStream(seed, "workload/arrivals"), which nothing else draws from: arrivals depend
/// on (spec, seed) alone, and a change of rate stretches one pattern.
class ArrivalProcess {
 public:
  /// ERRORS: a rate, cv, phase or concurrency out of range; `where` is the field.
  static Result<ArrivalProcess> Make(const Arrivals& arrivals, Seed seed);

  /// The next arrival, not before the one returned last; Time{} for a closed loop. Empty for ever
  /// after once an arrival would be later than kMaxArrival.
  std::optional<Time> Next();

 private:
  ArrivalProcess(const Arrivals& arrivals, Seed seed);
  std::optional<Time> Advance(double gap_ns);
  std::optional<Time> NextOf(const PoissonArrivals& poisson);
  std::optional<Time> NextOf(const GammaArrivals& gamma);
  std::optional<Time> NextOf(const FixedRateArrivals& fixed);
  std::optional<Time> NextOf(const OnOffArrivals& on_off);
  std::optional<Time> NextOf(const ClosedLoop& loop);

  Arrivals arrivals_;
  RngStream rng_;
  int64_t fixed_count_ = 0;  // arrivals so far, at a fixed rate
  // The last arrival is now_ns_ + beyond_ns_: whole nanoseconds apart from their fraction, so that
  // long runs lose no precision.
  int64_t now_ns_ = 0;
  double beyond_ns_ = 0;
};

}  // namespace moecast
