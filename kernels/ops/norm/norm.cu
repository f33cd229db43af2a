// A block has a row in its registers, 16 bytes per thread and chunk; one block-wide sum between the
// reads and the writes.
#include <cstddef>
#include <type_traits>

#include "kernels/ops/launch.h"
#include "kernels/ops/norm/norm.h"
#include "kernels/ops/ptx.cuh"

namespace moecast::kernels {
namespace {

constexpr int kVector = 8;  // bf16 in 16 bytes
constexpr unsigned kAll = 0xffffffffU;

// The sum over the block, in every thread.
template <int kThreads>
__device__ float BlockSum(float value) {
  __shared__ float of_warp[kThreads / 32];
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2)
    value += __shfl_xor_sync(kAll, value, distance);
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = value;
  __syncthreads();
  float sum = 0;
#pragma unroll
  for (int w = 0; w < kThreads / 32; ++w) sum += of_warp[w];
  return sum;
}

// Adds b to a in place, each sum rounded to bf16. RETURNS: the sum of their squares.
__device__ float AddVector(uint4& a, const uint4& b) {
  auto* const left = reinterpret_cast<__nv_bfloat162*>(&a);
  const auto* const right = reinterpret_cast<const __nv_bfloat162*>(&b);
  float squares = 0;
#pragma unroll
  for (int i = 0; i < kVector / 2; ++i) {
    left[i] = __hadd2(left[i], right[i]);
    const float2 v = __bfloat1622float2(left[i]);
    squares += v.x * v.x + v.y * v.y;
  }
  return squares;
}

__device__ uint4 ScaleVector(const uint4& v, const uint4& weight, float factor) {
  const auto* const in = reinterpret_cast<const __nv_bfloat162*>(&v);
  const auto* const by = reinterpret_cast<const __nv_bfloat162*>(&weight);
  uint4 result;
  auto* const out = reinterpret_cast<__nv_bfloat162*>(&result);
#pragma unroll
  for (int i = 0; i < kVector / 2; ++i) {
    const float2 a = __bfloat1622float2(in[i]);
    const float2 w = __bfloat1622float2(by[i]);
    out[i] = __floats2bfloat162_rn(a.x * factor * w.x, a.y * factor * w.y);
  }
  return result;
}

template <int kThreads, int kChunks>
__global__ void __launch_bounds__(kThreads)
    NormKernel(NormShape shape, const __nv_bfloat16* __restrict__ x,
               const __nv_bfloat16* __restrict__ weight, __nv_bfloat16* __restrict__ residual,
               __nv_bfloat16* __restrict__ out) {
  const int vectors = shape.hidden / kVector;
  const size_t row = static_cast<size_t>(blockIdx.x) * vectors;
  const auto* const weights = reinterpret_cast<const uint4*>(weight);
  ptx::GridDependencyLaunch();
  uint4 w[kChunks];  // depends on no earlier kernel
#pragma unroll
  for (int c = 0; c < kChunks; ++c) {
    const int i = c * kThreads + static_cast<int>(threadIdx.x);
    w[c] = i < vectors ? __ldg(weights + i) : uint4{};
  }
  ptx::GridDependencyWait();
  uint4 sums[kChunks];
  uint4 added[kChunks];
#pragma unroll
  for (int c = 0; c < kChunks; ++c) {
    const int i = c * kThreads + static_cast<int>(threadIdx.x);
    sums[c] = i < vectors ? reinterpret_cast<const uint4*>(residual)[row + i] : uint4{};
    added[c] = i < vectors ? reinterpret_cast<const uint4*>(x)[row + i] : uint4{};
  }
  float squares = 0;
#pragma unroll
  for (int c = 0; c < kChunks; ++c) squares += AddVector(sums[c], added[c]);
  const float mean = BlockSum<kThreads>(squares) / static_cast<float>(shape.hidden);
  const float factor = rsqrtf(mean + shape.epsilon);
#pragma unroll
  for (int c = 0; c < kChunks; ++c) {
    const int i = c * kThreads + static_cast<int>(threadIdx.x);
    if (i >= vectors) continue;
    reinterpret_cast<uint4*>(residual)[row + i] = sums[c];
    reinterpret_cast<uint4*>(out)[row + i] = ScaleVector(sums[c], w[c], factor);
  }
}

__global__ void NaiveKernel(NormShape shape, const __nv_bfloat16* x, const __nv_bfloat16* weight,
                            __nv_bfloat16* residual, __nv_bfloat16* out) {
  const int token = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (token >= shape.tokens) return;
  const size_t row = static_cast<size_t>(token) * shape.hidden;
  float squares = 0;
  for (int h = 0; h < shape.hidden; ++h) {
    residual[row + h] = __hadd(residual[row + h], x[row + h]);
    const float v = __bfloat162float(residual[row + h]);
    squares += v * v;
  }
  const float factor = rsqrtf(squares / static_cast<float>(shape.hidden) + shape.epsilon);
  for (int h = 0; h < shape.hidden; ++h)
    out[row + h] = __float2bfloat16(__bfloat162float(residual[row + h]) * factor *
                                    __bfloat162float(weight[h]));
}

}  // namespace

void AddRmsNorm(const NormShape& shape, const __nv_bfloat16* x, const __nv_bfloat16* weight,
                __nv_bfloat16* residual, __nv_bfloat16* out, cudaStream_t stream) {
  const auto launch = [&](auto threads, auto chunks) {
    Launch(NormKernel<threads(), chunks()>, {shape.tokens, threads(), 0}, stream, shape, x, weight,
           residual, out);
  };
  const int vectors = shape.hidden / kVector;
  if (vectors <= 256)
    return launch(std::integral_constant<int, 256>{}, std::integral_constant<int, 1>{});
  if (vectors <= 512)
    return launch(std::integral_constant<int, 256>{}, std::integral_constant<int, 2>{});
  if (vectors <= 1024)
    return launch(std::integral_constant<int, 512>{}, std::integral_constant<int, 2>{});
  launch(std::integral_constant<int, 512>{}, std::integral_constant<int, 4>{});
}

void AddRmsNormNaive(const NormShape& shape, const __nv_bfloat16* x, const __nv_bfloat16* weight,
                     __nv_bfloat16* residual, __nv_bfloat16* out, cudaStream_t stream) {
  constexpr int kThreads = 128;
  NaiveKernel<<<(shape.tokens + kThreads - 1) / kThreads, kThreads, 0, stream>>>(shape, x, weight,
                                                                                 residual, out);
  CUDA_CHECK(cudaGetLastError());
}

}  // namespace moecast::kernels
