// The comparison of the compute-bound expert products with their float64 references.
#pragma once

#include <cstdint>

#include "kernels/bench/registry.h"

namespace moecast::kernels {

/// Small shapes in every format, with loads of 0, 1 and around one, two and several token tiles,
/// sizes off the weight tile and skipped slots. Each launch is compared on the kernel's own inputs:
/// rows in bf16 within 3e-3 (fp8_tensor 5e-3) relative, rows in e4m3 within half a step of their
/// code; rows that belong to no slot must be left as they were.
void CheckPrefill(uint64_t seed, const Stream& stream, const ReportLine& report);

}  // namespace moecast::kernels
