// Environment: on what a set of measurements was taken.
#pragma once

#include <string>

#include "kernels/harness/clock_monitor.h"
#include "kernels/harness/reference_data.h"

namespace moecast::kernels {

struct Environment {
  std::string device_name;
  std::string pci_bus_id;
  int multiprocessors = 0;
  double l2_bytes = 0;
  double memory_bytes = 0;
};

/// Of the current device. ERRORS: throws CudaError without a device of compute capability 9.0.
Environment ReadEnvironment();

/// The YAML that stands beside the measurements. `commit` is what was built, as its builder says.
std::string ToYaml(const Environment& environment, const CardPeak& peak, const ClockMonitor& clocks,
                   const std::string& commit);

}  // namespace moecast::kernels
