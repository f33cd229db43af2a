#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "kernels/bench/latent_fill.h"
#include "kernels/bench/mixed_bits.cuh"
#include "kernels/harness/cuda_check.h"

namespace moecast::kernels {
namespace {

// Four bytes of a page, at offset `at`.
__device__ uint32_t WordOf(KvElement element, const LatentLayout& layout, int32_t at,
                           uint64_t bits) {
  const bool latents = at < layout.rotary;
  if (element == KvElement::kBf16 || (!latents && at < layout.scales)) {
    const __nv_bfloat162 pair = __floats2bfloat162_rn(Uniform(bits), Uniform(bits >> 32));
    return *reinterpret_cast<const uint32_t*>(&pair);
  }
  // Bit 6 of an fp8 code stays clear: a number below 2.
  if (latents) return static_cast<uint32_t>(bits) & (IsFp8(element) ? 0xbfbfbfbfU : 0xffffffffU);
  const float jitter = 1 + 0.25F * Uniform(bits);
  if (IsFp8(element)) return __float_as_uint(jitter);
  constexpr float kLevels = 15;
  const __half2 pair = __float2half2_rn(at < layout.zeros ? 2 * jitter / kLevels : -jitter);
  return *reinterpret_cast<const uint32_t*>(&pair);
}

__global__ void FillLatentsKernel(KvElement element, __grid_constant__ const LatentLayout layout,
                                  uint32_t* pages, int64_t words, uint64_t seed) {
  const int64_t stride = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = blockIdx.x * static_cast<int64_t>(blockDim.x) + threadIdx.x; i < words;
       i += stride) {
    const auto at = static_cast<int32_t>(4 * i % layout.page_bytes);
    const uint64_t bits = Mix((static_cast<uint64_t>(i) + 1) * 0x9e3779b97f4a7c15ULL + Mix(seed));
    pages[i] = WordOf(element, layout, at, bits);
  }
}

}  // namespace

void FillLatents(KvElement element, uint8_t* pages, int64_t count, uint64_t seed,
                 cudaStream_t stream) {
  const LatentLayout layout = LatentLayoutOf(element);
  FillLatentsKernel<<<1056, 256, 0, stream>>>(element, layout, reinterpret_cast<uint32_t*>(pages),
                                              count * layout.page_bytes / 4, seed);
  CUDA_CHECK(cudaGetLastError());
}

}  // namespace moecast::kernels
