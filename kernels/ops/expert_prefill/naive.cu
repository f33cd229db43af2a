// The first rung: a 16 x 16 tile of outputs per block, operands through shared memory, one fp32
// multiply-add at a time. What the tensor-core products are compared with on the ladder.
#include "kernels/ops/expert_prefill/expert_prefill.h"
#include "kernels/ops/launch.h"
#include "kernels/ops/ptx.cuh"

namespace moecast::kernels {
namespace {

constexpr int kSide = 16;

// Sum over k of rows[row, k] * weights[column, k] for this thread's row and column; rows and
// columns past their ends repeat the last.
__device__ float TileProduct(const __nv_bfloat16* rows, int row, int row_end,
                             const __nv_bfloat16* weights, int column, int columns, int k) {
  __shared__ float a[kSide][kSide + 1];
  __shared__ float b[kSide][kSide + 1];
  const int x = static_cast<int>(threadIdx.x) % kSide;
  const int y = static_cast<int>(threadIdx.x) / kSide;
  const int64_t a_row = min(row, row_end - 1);
  const int64_t b_row = min(column - x + y, columns - 1);
  float sum = 0;
  for (int first = 0; first < k; first += kSide) {
    a[y][x] = __bfloat162float(rows[a_row * k + first + x]);
    b[y][x] = __bfloat162float(weights[b_row * k + first + x]);
    __syncthreads();
    for (int i = 0; i < kSide; ++i) sum += a[y][i] * b[x][i];
    __syncthreads();
  }
  return sum;
}

// One block per active expert and tile of columns; it walks the expert's rows.
template <bool kGateUp>
__global__ void __launch_bounds__(kSide* kSide)
    NaiveKernel(ExpertSlots slots, int k, int columns, const __nv_bfloat16* __restrict__ rows,
                const __nv_bfloat16* __restrict__ weights, __nv_bfloat16* __restrict__ out) {
  ptx::GridDependencyWait();
  ptx::GridDependencyLaunch();
  const int tiles = (columns + kSide - 1) / kSide;
  const int position = static_cast<int>(blockIdx.x) / tiles;
  if (position >= *slots.active_count) return;
  const int column =
      static_cast<int>(blockIdx.x) % tiles * kSide + static_cast<int>(threadIdx.x) % kSide;
  const int row_end = slots.offsets[position + 1];
  const int64_t matrix = static_cast<int64_t>(columns) * k;
  const __nv_bfloat16* const expert =
      weights + slots.active_experts[position] * matrix * (kGateUp ? 2 : 1);
  for (int first = slots.offsets[position]; first < row_end; first += kSide) {
    const int row = first + static_cast<int>(threadIdx.x) / kSide;
    float value = TileProduct(rows, row, row_end, expert, column, columns, k);
    if constexpr (kGateUp)
      value = value / (1.0F + __expf(-value)) *
              TileProduct(rows, row, row_end, expert + matrix, column, columns, k);
    if (row < row_end && column < columns)
      out[static_cast<int64_t>(row) * columns + column] = __float2bfloat16(value);
  }
}

template <bool kGateUp>
void LaunchNaive(const ExpertShape& shape, const ExpertSlots& slots, int k, int columns,
                 const void* rows, const void* weights, void* out, cudaStream_t stream) {
  const int blocks = shape.experts * ((columns + kSide - 1) / kSide);
  Launch(NaiveKernel<kGateUp>, {blocks, kSide * kSide, 0}, stream, slots, k, columns,
         static_cast<const __nv_bfloat16*>(rows), static_cast<const __nv_bfloat16*>(weights),
         static_cast<__nv_bfloat16*>(out));
}

}  // namespace

void NaivePrefillGateUp(const ExpertShape& shape, const ExpertSlots& slots,
                        const PrefillWeights& weights, const PrefillRows& x, const PrefillRows& act,
                        cudaStream_t stream) {
  LaunchNaive<true>(shape, slots, shape.hidden, shape.intermediate, x.values, weights.gate_up,
                    act.values, stream);
}

void NaivePrefillDown(const ExpertShape& shape, const ExpertSlots& slots,
                      const PrefillWeights& weights, const PrefillRows& act, __nv_bfloat16* y,
                      cudaStream_t stream) {
  LaunchNaive<false>(shape, slots, shape.intermediate, shape.hidden, act.values, weights.down, y,
                     stream);
}

}  // namespace moecast::kernels
