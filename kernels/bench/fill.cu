#include "kernels/bench/fill.h"
#include "kernels/harness/cuda_check.h"

namespace moecast::kernels {
namespace {

// The finaliser of SplitMix64: enough for data whose only use is not to be zero. [Steele14]
__device__ uint64_t Mix(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

__global__ void FillKernel(__nv_bfloat16* values, size_t count, float scale, uint64_t seed) {
  const size_t stride = static_cast<size_t>(gridDim.x) * blockDim.x;
  for (size_t i = blockIdx.x * static_cast<size_t>(blockDim.x) + threadIdx.x; i < count;
       i += stride) {
    const uint64_t bits = Mix((i + 1) * 0x9e3779b97f4a7c15ULL + Mix(seed));
    const float uniform = static_cast<float>(bits >> 40) * 0x1p-23F - 1.0F;
    values[i] = __float2bfloat16(uniform * scale);
  }
}

}  // namespace

void FillUniform(__nv_bfloat16* values, size_t count, float scale, uint64_t seed,
                 cudaStream_t stream) {
  FillKernel<<<1056, 256, 0, stream>>>(values, count, scale, seed);
  CUDA_CHECK(cudaGetLastError());
}

}  // namespace moecast::kernels
