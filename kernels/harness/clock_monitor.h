// ClockMonitor: the GPU's clock, power and throttle reasons, read through NVML. The library is
// opened by name at run time, so the harness links and runs where it is absent; readings then say
// that they are not available. Nothing here changes a setting of the card.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace moecast::kernels {

/// One reading. [NVML] nvmlDeviceGetClockInfo, ...PowerUsage, ...CurrentClocksEventReasons.
struct ClockReading {
  double sm_mhz = 0;         // asked for: the card skips cycles that this does not show
  double effective_mhz = 0;  // of the block before, by ClockProbe; not NVML's
  double max_sm_mhz = 0;
  double memory_mhz = 0;
  double power_w = 0;
  double temperature_c = 0;
  uint64_t reasons = 0;  // nvmlClocksEventReason bits
};

/// Whether the card ran clearly below its clocks for a reason that is not the program's own
/// idleness: power cap, power brake, hardware slowdown, thermal slowdown. A card under its power
/// cap that lost only a few percent of its clock is not held back: streaming kernels of ours draw
/// that much at all times, and wait for memory, whose clock the cap leaves alone.
///
/// A matrix product that fills the card draws more than its power cap at any clock above the one it
/// then runs at: there the cap is the steady state that a user sees, and only the other reasons
/// hold back.
enum class PowerCap { kHoldsBack, kIsSteadyState };
bool Throttled(const ClockReading& reading, PowerCap cap = PowerCap::kHoldsBack);

class ClockMonitor {
 public:
  /// Opens NVML for the device at `pci_bus_id` ("0000:1a:00.0"). Never fails: see available().
  explicit ClockMonitor(const std::string& pci_bus_id);
  ~ClockMonitor();
  // Owns a library session.
  ClockMonitor(const ClockMonitor&) = delete;
  ClockMonitor& operator=(const ClockMonitor&) = delete;

  [[nodiscard]] bool available() const { return nvml_ != nullptr; }
  /// nullopt when NVML is absent or refuses. COST: some 100 us on the host.
  [[nodiscard]] std::optional<ClockReading> Read() const;
  [[nodiscard]] std::string driver_version() const;

 private:
  struct Nvml;
  std::unique_ptr<Nvml> nvml_;
};

}  // namespace moecast::kernels
