// SampleLedger: keeps the samples taken at full clocks and counts the others. A clock reading
// judges the block of samples taken since the reading before it.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "kernels/harness/clock_monitor.h"

namespace moecast::kernels {

class SampleLedger {
 public:
  explicit SampleLedger(PowerCap cap = PowerCap::kHoldsBack) : cap_(cap) {}

  /// Keeps the block, or discards all of it when the reading shows a throttled card. Without a
  /// reading the block is kept: nothing speaks against it.
  void Offer(std::span<const double> block, const std::optional<ClockReading>& reading);

  [[nodiscard]] const std::vector<double>& kept() const { return kept_; }
  [[nodiscard]] size_t discarded() const { return discarded_; }
  /// Means over the readings of kept blocks, and every reason that any of them gave; zeros when
  /// there was none.
  [[nodiscard]] ClockReading MeanClocks() const;

 private:
  PowerCap cap_;
  std::vector<double> kept_;
  size_t discarded_ = 0;
  size_t readings_ = 0;
  ClockReading sum_;
};

}  // namespace moecast::kernels
