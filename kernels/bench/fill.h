// Random device data for timing: uniform values, never zeros.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

namespace moecast::kernels {

/// values[i] uniform in [-scale, scale), a function of (seed, i).
void FillUniform(__nv_bfloat16* values, size_t count, float scale, uint64_t seed,
                 cudaStream_t stream);

/// Random bytes with bit 6 of each clear, so that they are numbers below 2 as e4m3 as well as in
/// bf16 or float32.
void FillCodes(void* bytes, size_t count, uint64_t seed, cudaStream_t stream);

}  // namespace moecast::kernels
