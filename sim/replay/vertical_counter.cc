#include "sim/replay/vertical_counter.h"

namespace moecast {

#ifndef MOECAST_X86_COUNTERS
const CounterKernels* Avx2CounterKernels() { return nullptr; }
const CounterKernels* Avx512CounterKernels() { return nullptr; }
#endif

const CounterKernels& BestCounterKernels() {
  if (const CounterKernels* kernels = Avx512CounterKernels()) return *kernels;
  if (const CounterKernels* kernels = Avx2CounterKernels()) return *kernels;
  return PortableCounterKernels();
}

}  // namespace moecast
