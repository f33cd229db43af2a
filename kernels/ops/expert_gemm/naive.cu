#include "kernels/ops/expert_gemm/naive.h"
#include "kernels/ops/launch.h"
#include "kernels/ops/ptx.cuh"

namespace moecast::kernels::naive {
namespace {

constexpr int kWarps = 8;

// Sum over columns of a row times a token, in every lane.
__device__ float Dot(const __nv_bfloat16* row, const __nv_bfloat16* token, int columns) {
  float sum = 0;
  for (int c = static_cast<int>(threadIdx.x) % 32; c < columns; c += 32)
    sum += __bfloat162float(row[c]) * __bfloat162float(token[c]);
  for (int distance = 16; distance > 0; distance /= 2)
    sum += __shfl_xor_sync(0xffffffffU, sum, distance);
  return sum;
}

// This warp's number among all; results are numbered slot by slot.
__device__ size_t WarpNumber() {
  return static_cast<size_t>(blockIdx.x) * kWarps + threadIdx.x / 32;
}

// The expert of a slot, or -1 past the last slot.
__device__ int ExpertOf(const ExpertSlots& slots, int slot) {
  for (int position = 0; position < *slots.active_count; ++position) {
    if (slot < slots.offsets[position + 1]) return slots.active_experts[position];
  }
  return -1;
}

__global__ void GateUpKernel(ExpertShape shape, ExpertSlots slots, const __nv_bfloat16* x,
                             const __nv_bfloat16* gate_up, __nv_bfloat16* act) {
  ptx::GridDependencyWait();
  const int slot = static_cast<int>(WarpNumber() / shape.intermediate);
  const int i = static_cast<int>(WarpNumber() % shape.intermediate);
  const int expert = ExpertOf(slots, slot);
  if (expert < 0) return;
  const __nv_bfloat16* token = x + static_cast<size_t>(slots.slot_token[slot]) * shape.hidden;
  const size_t gate_row = static_cast<size_t>(expert) * 2 * shape.intermediate +
                          i / kFragmentRows * 2 * kFragmentRows + i % kFragmentRows;
  const float gate = Dot(gate_up + gate_row * shape.hidden, token, shape.hidden);
  const float up = Dot(gate_up + (gate_row + kFragmentRows) * shape.hidden, token, shape.hidden);
  if (threadIdx.x % 32 == 0)
    act[WarpNumber()] = __float2bfloat16(gate / (1.0F + __expf(-gate)) * up);
}

__global__ void DownKernel(ExpertShape shape, ExpertSlots slots, const __nv_bfloat16* act,
                           const __nv_bfloat16* down, __nv_bfloat16* y) {
  ptx::GridDependencyWait();
  const int slot = static_cast<int>(WarpNumber() / shape.hidden);
  const int h = static_cast<int>(WarpNumber() % shape.hidden);
  const int expert = ExpertOf(slots, slot);
  if (expert < 0) return;
  const size_t row = static_cast<size_t>(expert) * shape.hidden + h;
  const float sum = Dot(down + row * shape.intermediate,
                        act + static_cast<size_t>(slot) * shape.intermediate, shape.intermediate);
  if (threadIdx.x % 32 == 0) y[WarpNumber()] = __float2bfloat16(sum);
}

// Blocks for all results, `rows` per slot. REQUIRES: rows % kWarps == 0.
LaunchShape ShapeFor(const ExpertShape& shape, int rows) {
  return {shape.tokens * shape.top_k * (rows / kWarps), kWarps * 32, 0};
}

}  // namespace

void GateUpSwiGlu(const ExpertShape& shape, const ExpertSlots& slots, const __nv_bfloat16* x,
                  const __nv_bfloat16* gate_up, __nv_bfloat16* act, cudaStream_t stream) {
  Launch(GateUpKernel, ShapeFor(shape, shape.intermediate), stream, shape, slots, x, gate_up, act);
}

void Down(const ExpertShape& shape, const ExpertSlots& slots, const __nv_bfloat16* act,
          const __nv_bfloat16* down, __nv_bfloat16* y, cudaStream_t stream) {
  Launch(DownKernel, ShapeFor(shape, shape.hidden), stream, shape, slots, act, down, y);
}

}  // namespace moecast::kernels::naive
