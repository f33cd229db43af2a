#include "kernels/harness/clock_monitor.h"

#include <dlfcn.h>

#include <array>

namespace moecast::kernels {
namespace {

// Bits of nvmlClocksEventReasons that mean the card was held back. [NVML]
constexpr uint64_t kSoftwarePowerCap = 0x4;
constexpr uint64_t kHardwareSlowdown = 0x8;
constexpr uint64_t kSoftwareThermal = 0x20;
constexpr uint64_t kHardwareThermal = 0x40;
constexpr uint64_t kHardwarePowerBrake = 0x80;
constexpr uint64_t kHeldBack = kSoftwarePowerCap | kHardwareSlowdown | kSoftwareThermal |
                               kHardwareThermal | kHardwarePowerBrake;

// A clock above this share of the card's highest is full speed.
constexpr double kFullSpeed = 0.9;

constexpr int kSuccess = 0;
constexpr int kClockSm = 1;
constexpr int kClockMemory = 2;
constexpr int kTemperatureGpu = 0;

template <class Function>
bool Resolve(void* library, const char* name, Function& function) {
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): dlsym has no typed form.
  function = reinterpret_cast<Function>(dlsym(library, name));
  return function != nullptr;
}

}  // namespace

bool Throttled(const ClockReading& reading, PowerCap cap) {
  const uint64_t judged = cap == PowerCap::kHoldsBack ? kHeldBack : kHeldBack & ~kSoftwarePowerCap;
  return (reading.reasons & judged) != 0 && reading.sm_mhz < kFullSpeed * reading.max_sm_mhz;
}

struct ClockMonitor::Nvml {
  using Device = void*;
  void* library = nullptr;
  Device device = nullptr;
  int (*init)() = nullptr;
  int (*shutdown)() = nullptr;
  int (*by_bus_id)(const char*, Device*) = nullptr;
  int (*clock)(Device, int, unsigned*) = nullptr;
  int (*max_clock)(Device, int, unsigned*) = nullptr;
  int (*power)(Device, unsigned*) = nullptr;
  int (*temperature)(Device, int, unsigned*) = nullptr;
  int (*reasons)(Device, unsigned long long*) = nullptr;
  int (*driver)(char*, unsigned) = nullptr;
  bool started = false;

  Nvml() : library(dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL)) {}
  ~Nvml() {
    if (started) shutdown();
    if (library != nullptr) dlclose(library);
  }
  Nvml(const Nvml&) = delete;
  Nvml& operator=(const Nvml&) = delete;

  bool Start(const char* pci_bus_id) {
    if (library == nullptr) return false;
    const bool found = Resolve(library, "nvmlInit_v2", init) &&
                       Resolve(library, "nvmlShutdown", shutdown) &&
                       Resolve(library, "nvmlDeviceGetHandleByPciBusId_v2", by_bus_id) &&
                       Resolve(library, "nvmlDeviceGetClockInfo", clock) &&
                       Resolve(library, "nvmlDeviceGetMaxClockInfo", max_clock) &&
                       Resolve(library, "nvmlDeviceGetPowerUsage", power) &&
                       Resolve(library, "nvmlDeviceGetTemperature", temperature) &&
                       Resolve(library, "nvmlDeviceGetCurrentClocksThrottleReasons", reasons) &&
                       Resolve(library, "nvmlSystemGetDriverVersion", driver);
    if (!found || init() != kSuccess) return false;
    started = true;
    return by_bus_id(pci_bus_id, &device) == kSuccess;
  }
};

ClockMonitor::ClockMonitor(const std::string& pci_bus_id) : nvml_(std::make_unique<Nvml>()) {
  if (!nvml_->Start(pci_bus_id.c_str())) nvml_.reset();
}

ClockMonitor::~ClockMonitor() = default;

std::optional<ClockReading> ClockMonitor::Read() const {
  if (!available()) return std::nullopt;
  unsigned sm = 0;
  unsigned max_sm = 0;
  unsigned memory = 0;
  unsigned milliwatts = 0;
  unsigned celsius = 0;
  unsigned long long reasons = 0;
  const bool read = nvml_->clock(nvml_->device, kClockSm, &sm) == kSuccess &&
                    nvml_->max_clock(nvml_->device, kClockSm, &max_sm) == kSuccess &&
                    nvml_->clock(nvml_->device, kClockMemory, &memory) == kSuccess &&
                    nvml_->power(nvml_->device, &milliwatts) == kSuccess &&
                    nvml_->temperature(nvml_->device, kTemperatureGpu, &celsius) == kSuccess &&
                    nvml_->reasons(nvml_->device, &reasons) == kSuccess;
  if (!read) return std::nullopt;
  return ClockReading{.sm_mhz = static_cast<double>(sm),
                      .max_sm_mhz = static_cast<double>(max_sm),
                      .memory_mhz = static_cast<double>(memory),
                      .power_w = milliwatts / 1000.0,
                      .temperature_c = static_cast<double>(celsius),
                      .reasons = reasons};
}

std::string ClockMonitor::driver_version() const {
  std::array<char, 96> text{};
  if (!available() || nvml_->driver(text.data(), text.size()) != kSuccess) return "unknown";
  return text.data();
}

}  // namespace moecast::kernels
