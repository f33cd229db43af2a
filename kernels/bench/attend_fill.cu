#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "kernels/bench/attend_fill.h"
#include "kernels/bench/mixed_bits.cuh"
#include "kernels/harness/cuda_check.h"

namespace moecast::kernels {
namespace {

// Four bytes of codes. Bit 6 of an fp8 code stays clear: a number below 2.
__device__ uint32_t Codes(KvElement element, uint64_t bits) {
  if (element == KvElement::kBf16) {
    const __nv_bfloat162 pair = __floats2bfloat162_rn(Uniform(bits), Uniform(bits >> 32));
    return *reinterpret_cast<const uint32_t*>(&pair);
  }
  return static_cast<uint32_t>(bits) & (IsFp8(element) ? 0xbfbfbfbfU : 0xffffffffU);
}

// Four bytes of a part at offset `at` of its page.
__device__ uint32_t WordOf(const KvPart& part, const PartLayout& layout, int32_t at,
                           uint64_t bits) {
  if (at < layout.scales) return Codes(part.element, bits);
  const float jitter = 1 + 0.25F * Uniform(bits);
  if (IsFp8(part.element)) return __float_as_uint(jitter);
  const float levels = static_cast<float>((1 << BitsOf(part.element)) - 1);
  const float value = at < layout.zeros ? 2 * jitter / levels : -jitter;
  const __half2 pair = __float2half2_rn(value);
  return *reinterpret_cast<const uint32_t*>(&pair);
}

__global__ void FillPagesKernel(__grid_constant__ const KvScheme scheme,
                                __grid_constant__ const PageLayout layout, uint8_t* pages,
                                int64_t words, uint64_t seed) {
  const int64_t stride = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = blockIdx.x * static_cast<int64_t>(blockDim.x) + threadIdx.x; i < words;
       i += stride) {
    const auto at = static_cast<int32_t>(4 * i % layout.page_bytes);
    const uint64_t bits = Mix((static_cast<uint64_t>(i) + 1) * 0x9e3779b97f4a7c15ULL + Mix(seed));
    const bool keys = at < layout.keys.scales + layout.keys.metadata_bytes;
    reinterpret_cast<uint32_t*>(pages)[i] = keys ? WordOf(scheme.keys, layout.keys, at, bits)
                                                 : WordOf(scheme.values, layout.values, at, bits);
  }
}

}  // namespace

void FillPages(const KvScheme& scheme, const PageLayout& layout, uint8_t* pages, int64_t count,
               uint64_t seed, cudaStream_t stream) {
  FillPagesKernel<<<1056, 256, 0, stream>>>(scheme, layout, pages, count * layout.page_bytes / 4,
                                            seed);
  CUDA_CHECK(cudaGetLastError());
}

}  // namespace moecast::kernels
