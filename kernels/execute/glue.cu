// A thread moves 16 bytes.
#include <cstddef>

#include "kernels/execute/glue.h"
#include "kernels/ops/launch.h"
#include "kernels/ops/ptx.cuh"

namespace moecast::kernels {
namespace {

constexpr int kThreads = 128;
constexpr int kVector = 8;  // bf16 in 16 bytes

int BlocksFor(int64_t vectors) { return static_cast<int>((vectors + kThreads - 1) / kThreads); }

__device__ int64_t ThreadIndex() {
  return static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
}

__global__ void __launch_bounds__(kThreads)
    EmbedKernel(int32_t tokens, int32_t vectors, const int32_t* __restrict__ ids,
                const uint4* __restrict__ table, uint4* __restrict__ residual,
                uint4* __restrict__ x) {
  ptx::GridDependencyLaunch();
  const int64_t i = ThreadIndex();
  ptx::GridDependencyWait();
  if (i >= static_cast<int64_t>(tokens) * vectors) return;
  residual[i] = table[static_cast<int64_t>(ids[i / vectors]) * vectors + i % vectors];
  x[i] = uint4{0, 0, 0, 0};
}

__global__ void __launch_bounds__(kThreads)
    GatherKernel(int32_t rows, int32_t vectors, const int32_t* __restrict__ index,
                 const uint4* __restrict__ from, uint4* __restrict__ to) {
  ptx::GridDependencyLaunch();
  const int64_t i = ThreadIndex();
  ptx::GridDependencyWait();
  if (i >= static_cast<int64_t>(rows) * vectors) return;
  to[i] = from[static_cast<int64_t>(index[i / vectors]) * vectors + i % vectors];
}

__device__ __nv_bfloat162 Gate(__nv_bfloat162 gate, __nv_bfloat162 up) {
  const float2 g = __bfloat1622float2(gate);
  const float2 u = __bfloat1622float2(up);
  return __floats2bfloat162_rn(g.x / (1 + __expf(-g.x)) * u.x, g.y / (1 + __expf(-g.y)) * u.y);
}

__global__ void __launch_bounds__(kThreads)
    SwiGluKernel(int32_t tokens, int32_t vectors, const uint4* __restrict__ gate_up,
                 uint4* __restrict__ act) {
  ptx::GridDependencyLaunch();
  const int64_t i = ThreadIndex();
  ptx::GridDependencyWait();
  if (i >= static_cast<int64_t>(tokens) * vectors) return;
  const int64_t token = i / vectors;
  const uint4 gate = gate_up[token * 2 * vectors + i % vectors];
  const uint4 up = gate_up[(token * 2 + 1) * vectors + i % vectors];
  const auto* const g = reinterpret_cast<const __nv_bfloat162*>(&gate);
  const auto* const u = reinterpret_cast<const __nv_bfloat162*>(&up);
  uint4 result;
  auto* const out = reinterpret_cast<__nv_bfloat162*>(&result);
#pragma unroll
  for (int pair = 0; pair < kVector / 2; ++pair) out[pair] = Gate(g[pair], u[pair]);
  act[i] = result;
}

__device__ uint64_t GlobalNanoseconds() {
  uint64_t now;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));  // PTX ISA 9.0, 10 "Special registers"
  return now;
}

__global__ void HoldKernel(uint64_t nanoseconds) {
  const uint64_t end = GlobalNanoseconds() + nanoseconds;
  while (GlobalNanoseconds() < end) __nanosleep(1000);
}

}  // namespace

void Embed(int32_t tokens, int32_t hidden, const int32_t* ids, const __nv_bfloat16* table,
           __nv_bfloat16* residual, __nv_bfloat16* x, cudaStream_t stream) {
  const int32_t vectors = hidden / kVector;
  Launch(EmbedKernel, {.blocks = BlocksFor(int64_t{tokens} * vectors), .threads = kThreads}, stream,
         tokens, vectors, ids, reinterpret_cast<const uint4*>(table),
         reinterpret_cast<uint4*>(residual), reinterpret_cast<uint4*>(x));
}

void GatherRows(int32_t rows, int32_t hidden, const int32_t* index, const __nv_bfloat16* from,
                __nv_bfloat16* to, cudaStream_t stream) {
  const int32_t vectors = hidden / kVector;
  Launch(GatherKernel, {.blocks = BlocksFor(int64_t{rows} * vectors), .threads = kThreads}, stream,
         rows, vectors, index, reinterpret_cast<const uint4*>(from), reinterpret_cast<uint4*>(to));
}

void SwiGlu(int32_t tokens, int32_t width, const __nv_bfloat16* gate_up, __nv_bfloat16* act,
            cudaStream_t stream) {
  const int32_t vectors = width / kVector;
  Launch(SwiGluKernel, {.blocks = BlocksFor(int64_t{tokens} * vectors), .threads = kThreads},
         stream, tokens, vectors, reinterpret_cast<const uint4*>(gate_up),
         reinterpret_cast<uint4*>(act));
}

void Hold(uint64_t nanoseconds, cudaStream_t stream) {
  HoldKernel<<<1, 1, 0, stream>>>(nanoseconds);
  CUDA_CHECK(cudaGetLastError());
}

}  // namespace moecast::kernels
