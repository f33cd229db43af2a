// ClockProbe: the processors' mean clock between two points of a stream. NVML shows the clock that
// is asked for; under load the card skips cycles that its figure does not show.
#pragma once

#include <cstdint>

#include "kernels/harness/device_buffer.h"
#include "kernels/harness/stream.h"

namespace moecast::kernels {

class ClockProbe {
 public:
  ClockProbe();

  /// Enqueues a reading of every processor's cycles and of the time. A microsecond or two.
  void Begin(const Stream& stream) const;
  void End(const Stream& stream) const;
  /// RETURNS: cycles over time from Begin to End, in MHz, the median over processors that both
  /// readings saw; 0 where none was. REQUIRES: both have happened.
  [[nodiscard]] double MeanMhz() const;

 private:
  DeviceBuffer<uint64_t> readings_;  // [2][kProcessors][cycles, ns]
};

}  // namespace moecast::kernels
