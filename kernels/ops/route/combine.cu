// Combine: each token's kept rows, weighted and summed. See route.h.
#include <cstddef>

#include "kernels/ops/launch.h"
#include "kernels/ops/ptx.cuh"
#include "kernels/ops/route/route.h"

namespace moecast::kernels {
namespace {

constexpr int kCombineThreads = 128;
constexpr int kCombineColumns = kCombineThreads * 8;  // columns of one block of the combine

// One block per token and kCombineColumns columns; a thread owns 8 columns. The rows of kInFlight
// slots are asked for together.
__global__ void __launch_bounds__(kCombineThreads)
    CombineKernel(ExpertShape shape, RouteBuffers buffers, const __nv_bfloat16* __restrict__ y,
                  __nv_bfloat16* __restrict__ out) {
  constexpr int kInFlight = 8;
  ptx::GridDependencyWait();
  ptx::GridDependencyLaunch();
  const int chunks = (shape.hidden + kCombineColumns - 1) / kCombineColumns;
  const int token = static_cast<int>(blockIdx.x) / chunks;
  const int column =
      static_cast<int>(blockIdx.x) % chunks * kCombineColumns + static_cast<int>(threadIdx.x) * 8;
  if (column >= shape.hidden) return;
  float sum[8] = {};
  for (int first = 0; first < shape.top_k; first += kInFlight) {
    int row[kInFlight];
    float weight[kInFlight];
    uint4 values[kInFlight];
#pragma unroll
    for (int j = 0; j < kInFlight; ++j) {
      const bool inside = first + j < shape.top_k;
      const int slot = token * shape.top_k + first + j;
      row[j] = inside ? buffers.position_of_slot[slot] : -1;
      weight[j] = inside ? buffers.weight_of_slot[slot] : 0.0F;
    }
#pragma unroll
    for (int j = 0; j < kInFlight; ++j) {
      values[j] = uint4{};
      if (row[j] >= 0)
        values[j] = *reinterpret_cast<const uint4*>(y + static_cast<size_t>(row[j]) * shape.hidden +
                                                    column);
    }
#pragma unroll
    for (int j = 0; j < kInFlight; ++j) {
      const auto* pairs = reinterpret_cast<const __nv_bfloat162*>(&values[j]);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float2 pair = __bfloat1622float2(pairs[i]);
        sum[2 * i] += weight[j] * pair.x;
        sum[2 * i + 1] += weight[j] * pair.y;
      }
    }
  }
  __nv_bfloat162 result[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) result[i] = __floats2bfloat162_rn(sum[2 * i], sum[2 * i + 1]);
  *reinterpret_cast<uint4*>(out + static_cast<size_t>(token) * shape.hidden + column) =
      *reinterpret_cast<uint4*>(result);
}

}  // namespace

void Combine(const ExpertShape& shape, const RouteBuffers& buffers, const __nv_bfloat16* y,
             __nv_bfloat16* out, cudaStream_t stream) {
  const int chunks = (shape.hidden + kCombineColumns - 1) / kCombineColumns;
  Launch(CombineKernel, {shape.tokens * chunks, kCombineThreads, 0}, stream, shape, buffers, y,
         out);
}

}  // namespace moecast::kernels
