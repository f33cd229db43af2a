#include "kernels/bench/fill.h"
#include "kernels/bench/mixed_bits.cuh"
#include "kernels/harness/cuda_check.h"

namespace moecast::kernels {
namespace {

__global__ void FillKernel(__nv_bfloat16* values, size_t count, float scale, uint64_t seed) {
  const size_t stride = static_cast<size_t>(gridDim.x) * blockDim.x;
  for (size_t i = blockIdx.x * static_cast<size_t>(blockDim.x) + threadIdx.x; i < count;
       i += stride) {
    const uint64_t bits = Mix((i + 1) * 0x9e3779b97f4a7c15ULL + Mix(seed));
    const float uniform = static_cast<float>(bits >> 40) * 0x1p-23F - 1.0F;
    values[i] = __float2bfloat16(uniform * scale);
  }
}

__global__ void FillCodesKernel(uint8_t* bytes, size_t count, uint64_t seed) {
  const size_t stride = static_cast<size_t>(gridDim.x) * blockDim.x;
  for (size_t i = blockIdx.x * static_cast<size_t>(blockDim.x) + threadIdx.x; 8 * i < count;
       i += stride) {
    const uint64_t codes = Mix((i + 1) * 0x9e3779b97f4a7c15ULL + Mix(seed)) & 0xbfbfbfbfbfbfbfbfULL;
    if (8 * i + 8 <= count) {
      reinterpret_cast<uint64_t*>(bytes)[i] = codes;
    } else {
      for (size_t b = 8 * i; b < count; ++b) bytes[b] = static_cast<uint8_t>(codes >> 8 * (b % 8));
    }
  }
}

}  // namespace

void FillUniform(__nv_bfloat16* values, size_t count, float scale, uint64_t seed,
                 cudaStream_t stream) {
  FillKernel<<<1056, 256, 0, stream>>>(values, count, scale, seed);
  CUDA_CHECK(cudaGetLastError());
}

void FillCodes(void* bytes, size_t count, uint64_t seed, cudaStream_t stream) {
  FillCodesKernel<<<1056, 256, 0, stream>>>(static_cast<uint8_t*>(bytes), count, seed);
  CUDA_CHECK(cudaGetLastError());
}

}  // namespace moecast::kernels
