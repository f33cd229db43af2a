#include "kernels/bench/prefill_fill.h"
#include "kernels/harness/cuda_check.h"

namespace moecast::kernels {
namespace {

// The finaliser of SplitMix64. [Steele14]
__device__ uint32_t Draw(uint64_t seed, size_t index) {
  uint64_t z = (index + 1) * 0x9e3779b97f4a7c15ULL + seed * 0xd1b54a32d192ed03ULL;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return static_cast<uint32_t>(z >> 32);
}

struct AnyByte {
  uint64_t seed;
  __device__ uint8_t operator()(size_t i) const { return static_cast<uint8_t>(Draw(seed, i)); }
};

struct FiniteE4m3 {
  uint64_t seed;
  __device__ uint8_t operator()(size_t i) const {
    const uint32_t bits = Draw(seed, i);
    const uint32_t magnitude = (bits & 0xffffU) * 0x7fU >> 16;  // 0 .. 0x7e
    return static_cast<uint8_t>(magnitude | (bits >> 31 << 7));
  }
};

struct UpperHalf {
  uint64_t seed;
  float scale;
  __device__ float operator()(size_t i) const {
    return scale * (0.5F + static_cast<float>(Draw(seed, i) >> 8) * 0x1p-25F);
  }
};

template <class T, class Value>
__global__ void FillKernel(T* values, size_t count, Value value) {
  const size_t stride = static_cast<size_t>(gridDim.x) * blockDim.x;
  for (size_t i = blockIdx.x * static_cast<size_t>(blockDim.x) + threadIdx.x; i < count;
       i += stride)
    values[i] = value(i);
}

template <class T, class Value>
void Fill(T* values, size_t count, Value value, cudaStream_t stream) {
  if (count == 0) return;
  FillKernel<<<2112, 256, 0, stream>>>(values, count, value);
  CUDA_CHECK(cudaGetLastError());
}

}  // namespace

void FillBytes(uint8_t* values, size_t count, uint64_t seed, cudaStream_t stream) {
  Fill(values, count, AnyByte{seed}, stream);
}
void FillE4m3(uint8_t* values, size_t count, uint64_t seed, cudaStream_t stream) {
  Fill(values, count, FiniteE4m3{seed}, stream);
}
void FillScales(float* values, size_t count, float scale, uint64_t seed, cudaStream_t stream) {
  Fill(values, count, UpperHalf{seed, scale}, stream);
}

}  // namespace moecast::kernels
