// Random codes and scales for timing the compute-bound products.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

namespace moecast::kernels {

/// Uniform bytes: two 4-bit codes each.
void FillBytes(uint8_t* values, size_t count, uint64_t seed, cudaStream_t stream);
/// Uniform over the finite e4m3 codes.
void FillE4m3(uint8_t* values, size_t count, uint64_t seed, cudaStream_t stream);
/// Uniform in [scale / 2, scale).
void FillScales(float* values, size_t count, float scale, uint64_t seed, cudaStream_t stream);

}  // namespace moecast::kernels
