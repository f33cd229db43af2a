#include "kernels/harness/sample_ledger.h"

namespace moecast::kernels {

void SampleLedger::Offer(std::span<const double> block,
                         const std::optional<ClockReading>& reading) {
  if (reading && Throttled(*reading, cap_)) {
    discarded_ += block.size();
    return;
  }
  kept_.insert(kept_.end(), block.begin(), block.end());
  if (!reading) return;
  ++readings_;
  sum_.sm_mhz += reading->sm_mhz;
  sum_.effective_mhz += reading->effective_mhz;
  sum_.max_sm_mhz += reading->max_sm_mhz;
  sum_.memory_mhz += reading->memory_mhz;
  sum_.power_w += reading->power_w;
  sum_.temperature_c += reading->temperature_c;
  sum_.reasons |= reading->reasons;
}

ClockReading SampleLedger::MeanClocks() const {
  if (readings_ == 0) return {};
  const auto count = static_cast<double>(readings_);
  return {.sm_mhz = sum_.sm_mhz / count,
          .effective_mhz = sum_.effective_mhz / count,
          .max_sm_mhz = sum_.max_sm_mhz / count,
          .memory_mhz = sum_.memory_mhz / count,
          .power_w = sum_.power_w / count,
          .temperature_c = sum_.temperature_c / count,
          .reasons = sum_.reasons};
}

}  // namespace moecast::kernels
