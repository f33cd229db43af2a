#include <algorithm>
#include <vector>

#include "kernels/harness/clock_probe.h"

namespace moecast::kernels {
namespace {

constexpr int kProcessors = 256;  // more than any card has
constexpr int kBlocks = 4 * kProcessors;

// Any block of a processor may write last: cycles and time of one block belong together, as each
// pair is one store.
__global__ void ReadProcessors(ulonglong2* readings) {
  unsigned processor = 0;
  asm volatile("mov.u32 %0, %%smid;" : "=r"(processor));
  unsigned long long time = 0;
  const auto cycles = static_cast<unsigned long long>(clock64());
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(time));
  if (processor < kProcessors) readings[processor] = {cycles, time};
}

void Enqueue(uint64_t* readings, const Stream& stream) {
  CUDA_CHECK(cudaMemsetAsync(readings, 0, kProcessors * sizeof(ulonglong2), stream.get()));
  ReadProcessors<<<kBlocks, 1, 0, stream.get()>>>(reinterpret_cast<ulonglong2*>(readings));
  CUDA_CHECK(cudaGetLastError());
}

}  // namespace

ClockProbe::ClockProbe() : readings_(size_t{2} * 2 * kProcessors) {}

void ClockProbe::Begin(const Stream& stream) const { Enqueue(readings_.data(), stream); }
void ClockProbe::End(const Stream& stream) const {
  Enqueue(readings_.data() + 2 * kProcessors, stream);
}

double ClockProbe::MeanMhz() const {
  constexpr double kMhzPerCycleInNs = 1e3;
  const std::vector<uint64_t> all = readings_.ToHost();
  const auto at = [&all](size_t reading, size_t processor, size_t word) {
    return all[(reading * kProcessors + processor) * 2 + word];
  };
  std::vector<double> clocks;
  for (size_t p = 0; p < kProcessors; ++p) {
    if (at(0, p, 1) == 0 || at(1, p, 1) <= at(0, p, 1)) continue;
    const auto cycles = static_cast<double>(at(1, p, 0) - at(0, p, 0));
    clocks.push_back(cycles / static_cast<double>(at(1, p, 1) - at(0, p, 1)) * kMhzPerCycleInNs);
  }
  if (clocks.empty()) return 0;
  const auto middle = clocks.begin() + static_cast<std::ptrdiff_t>(clocks.size() / 2);
  std::nth_element(clocks.begin(), middle, clocks.end());
  return *middle;
}

}  // namespace moecast::kernels
