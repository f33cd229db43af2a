// Permutation: each token's row to the rows of its kept slots, quantised on the way. See
// expert_prefill.h.
#include <cuda_fp8.h>

#include "kernels/ops/expert_prefill/expert_prefill.h"
#include "kernels/ops/expert_prefill/launch_plan.h"
#include "kernels/ops/launch.h"
#include "kernels/ops/ptx.cuh"
#include "kernels/ops/route/route.h"

namespace moecast::kernels {
namespace {

constexpr int kPermuteThreads = 128;
constexpr int kVector = 8;  // bf16 values of a 16-byte load
constexpr int kGroupLanes = kFp8BlockSize / kVector;

struct Codes {
  __nv_fp8x2_storage_t pair[kVector / 2];
};

__device__ Codes Quantise(const float (&x)[kVector], float factor) {
  Codes codes;
#pragma unroll
  for (int i = 0; i < kVector / 2; ++i)
    codes.pair[i] = __nv_cvt_float2_to_fp8x2({x[2 * i] * factor, x[2 * i + 1] * factor},
                                             __NV_SATFINITE, __NV_E4M3);
  return codes;
}

__device__ void Unpack(const uint4& vector, float (&x)[kVector]) {
  const auto* const pairs = reinterpret_cast<const __nv_bfloat162*>(&vector);
#pragma unroll
  for (int i = 0; i < kVector / 2; ++i) {
    const float2 pair = __bfloat1622float2(pairs[i]);
    x[2 * i] = pair.x;
    x[2 * i + 1] = pair.y;
  }
}

// Largest magnitude over the 16 lanes that hold a group of 128 columns.
__device__ float GroupMaximum(const float (&x)[kVector]) {
  float most = 0;
#pragma unroll
  for (int i = 0; i < kVector; ++i) most = fmaxf(most, fabsf(x[i]));
#pragma unroll
  for (int step = 1; step < kGroupLanes; step *= 2)
    most = fmaxf(most, __shfl_xor_sync(0xffffffffU, most, step));
  return most;
}

// One block per token.
template <WeightFormat kFormat>
__global__ void __launch_bounds__(kPermuteThreads)
    PermuteKernel(ExpertShape shape, const int32_t* __restrict__ position_of_slot,
                  const __nv_bfloat16* __restrict__ x, PrefillRows rows) {
  __shared__ int32_t position[kMaxTopK];
  const int token = static_cast<int>(blockIdx.x);
  const int thread = static_cast<int>(threadIdx.x);
  ptx::GridDependencyWait();
  ptx::GridDependencyLaunch();
  if (thread < shape.top_k) position[thread] = position_of_slot[token * shape.top_k + thread];
  __syncthreads();
  const int capacity = shape.tokens * shape.top_k;
  const int64_t hidden = shape.hidden;
  for (int first = 0; first < shape.hidden; first += kPermuteThreads * kVector) {
    const int column = first + thread * kVector;
    const bool inside = column < shape.hidden;
    const uint4 vector =
        inside ? *reinterpret_cast<const uint4*>(x + token * hidden + column) : uint4{};
    Codes codes{};
    float largest = 0;
    if constexpr (kFormat == WeightFormat::kFp8 || kFormat == WeightFormat::kFp8Block) {
      float values[kVector];
      Unpack(vector, values);
      float factor = 1.0F / rows.static_scale;
      if constexpr (kFormat == WeightFormat::kFp8Block) {
        largest = GroupMaximum(values);
        factor = largest > 0 ? kE4m3Max / largest : 0.0F;
      }
      codes = Quantise(values, factor);
    }
    if (!inside) continue;
    for (int j = 0; j < shape.top_k; ++j) {
      const int64_t row = position[j];
      if (row < 0) continue;
      if constexpr (kFormat == WeightFormat::kBf16) {
        *reinterpret_cast<uint4*>(static_cast<__nv_bfloat16*>(rows.values) + row * hidden +
                                  column) = vector;
      } else {
        *reinterpret_cast<uint2*>(static_cast<uint8_t*>(rows.values) + row * hidden + column) =
            *reinterpret_cast<const uint2*>(&codes);
        if (kFormat == WeightFormat::kFp8Block && thread % kGroupLanes == 0)
          rows.block_scale[static_cast<int64_t>(column / kFp8BlockSize) * capacity + row] =
              largest / kE4m3Max;
      }
    }
  }
}

}  // namespace

int PersistentBlocks() {
  int device = 0;
  int count = 0;
  CUDA_CHECK(cudaGetDevice(&device));
  CUDA_CHECK(cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device));
  return count;
}

void PermuteTokens(const ExpertShape& shape, WeightFormat format, const int32_t* position_of_slot,
                   const __nv_bfloat16* x, const PrefillRows& rows, cudaStream_t stream) {
  const auto launch = [&](auto kernel) {
    Launch(kernel, {shape.tokens, kPermuteThreads, 0}, stream, shape, position_of_slot, x, rows);
  };
  switch (format) {
    case WeightFormat::kFp8:
      return launch(PermuteKernel<WeightFormat::kFp8>);
    case WeightFormat::kFp8Block:
      return launch(PermuteKernel<WeightFormat::kFp8Block>);
    case WeightFormat::kBf16:
    case WeightFormat::kInt4G32:
    case WeightFormat::kInt4G128:
      return launch(PermuteKernel<WeightFormat::kBf16>);
  }
}

}  // namespace moecast::kernels
