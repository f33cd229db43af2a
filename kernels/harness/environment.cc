#include "kernels/harness/environment.h"

#include <cuda_runtime_api.h>

#include <array>

#include "kernels/harness/cuda_check.h"
#include "sim/base/text.h"

namespace moecast::kernels {
namespace {

std::string CudaVersion(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

}  // namespace

Environment ReadEnvironment() {
  int device = 0;
  CUDA_CHECK(cudaGetDevice(&device));
  cudaDeviceProp properties{};
  CUDA_CHECK(cudaGetDeviceProperties(&properties, device));
  if (properties.major != 9 || properties.minor != 0)
    throw CudaError(std::string(properties.name) + " has compute capability " +
                    std::to_string(properties.major) + "." + std::to_string(properties.minor) +
                    "; these kernels are built for 9.0");
  std::array<char, 32> bus_id{};
  CUDA_CHECK(cudaDeviceGetPCIBusId(bus_id.data(), static_cast<int>(bus_id.size()), device));
  return {.device_name = properties.name,
          .pci_bus_id = bus_id.data(),
          .multiprocessors = properties.multiProcessorCount,
          .l2_bytes = static_cast<double>(properties.l2CacheSize),
          .memory_bytes = static_cast<double>(properties.totalGlobalMem)};
}

std::string ToYaml(const Environment& environment, const CardPeak& peak, const ClockMonitor& clocks,
                   const std::string& commit) {
  int runtime = 0;
  int driver = 0;
  CUDA_CHECK(cudaRuntimeGetVersion(&runtime));
  CUDA_CHECK(cudaDriverGetVersion(&driver));
  const auto reading = clocks.Read();
  std::string text;
  const auto line = [&](const std::string& key, const std::string& value) {
    text += key + ": " + value + "\n";
  };
  line("card", peak.name);
  line("device_name", '"' + environment.device_name + '"');
  line("multiprocessors", std::to_string(environment.multiprocessors));
  line("l2_bytes", ShortestDouble(environment.l2_bytes));
  line("memory_bytes", ShortestDouble(environment.memory_bytes));
  line("datasheet_hbm_bytes_per_s", ShortestDouble(peak.hbm_bytes_per_s));
  line("datasheet_bf16_flop_per_s", ShortestDouble(peak.bf16_flop_per_s));
  line("datasheet_fp8_flop_per_s", ShortestDouble(peak.fp8_flop_per_s));
  line("driver", '"' + clocks.driver_version() + '"');
  line("driver_cuda", '"' + CudaVersion(driver) + '"');
  line("runtime_cuda", '"' + CudaVersion(runtime) + '"');
  line("compiler_cuda", '"' + CudaVersion(CUDART_VERSION) + '"');
  line("max_sm_clock_mhz", reading ? ShortestDouble(reading->max_sm_mhz) : "unknown");
  line("memory_clock_mhz", reading ? ShortestDouble(reading->memory_mhz) : "unknown");
  line("throttle_checked", reading ? "true" : "false");
  line("commit", '"' + commit + '"');
  line("weights", "\"cold: copies and expert subsets rotate, see warm_ratio\"");
  line("activations", "warm");
  return text;
}

}  // namespace moecast::kernels
