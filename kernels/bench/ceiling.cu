#include <cstdint>

#include "kernels/bench/ceiling.h"
#include "kernels/harness/cuda_check.h"
#include "kernels/ops/launch.h"
#include "kernels/ops/ptx.cuh"

namespace moecast::kernels {
namespace {

constexpr int kThreads = 256;
constexpr int kLoads = 8;  // 16-byte loads a thread has in flight
constexpr size_t kChunk = static_cast<size_t>(kThreads) * kLoads;

__global__ void EmptyKernel() {}

__global__ void EmptyDependentKernel() {
  ptx::GridDependencyWait();
  ptx::GridDependencyLaunch();
}

// One chunk of kChunk 16-byte words per block.
__global__ void __launch_bounds__(kThreads)
    ReadKernel(const uint4* __restrict__ from, size_t words, unsigned* sink) {
  const size_t first = blockIdx.x * kChunk + threadIdx.x;
  uint4 v[kLoads];
#pragma unroll
  for (int i = 0; i < kLoads; ++i) {
    const size_t at = first + static_cast<size_t>(i) * kThreads;
    v[i] = at < words ? ptx::LoadStreaming(from + at) : uint4{};
  }
  unsigned all = ~0U;
#pragma unroll
  for (int i = 0; i < kLoads; ++i) all &= v[i].x & v[i].y & v[i].z & v[i].w;
  if (all == ~0U) *sink = all;
}

__global__ void __launch_bounds__(kThreads)
    CopyKernel(const uint4* __restrict__ from, uint4* __restrict__ to, size_t words) {
  const size_t first = blockIdx.x * kChunk + threadIdx.x;
  uint4 v[kLoads];
#pragma unroll
  for (int i = 0; i < kLoads; ++i) {
    const size_t at = first + static_cast<size_t>(i) * kThreads;
    if (at < words) v[i] = ptx::LoadStreaming(from + at);
  }
#pragma unroll
  for (int i = 0; i < kLoads; ++i) {
    const size_t at = first + static_cast<size_t>(i) * kThreads;
    if (at < words) __stcs(to + at, v[i]);
  }
}

unsigned Blocks(size_t words) { return static_cast<unsigned>((words + kChunk - 1) / kChunk); }

}  // namespace

void EmptyPlain(int blocks, cudaStream_t stream) {
  EmptyKernel<<<blocks, kThreads, 0, stream>>>();
  CUDA_CHECK(cudaGetLastError());
}

void EmptyDependent(int blocks, cudaStream_t stream) {
  Launch(EmptyDependentKernel, {blocks, kThreads, 0}, stream);
}

void ReadOnce(const void* from, size_t bytes, unsigned* sink, cudaStream_t stream) {
  const size_t words = bytes / sizeof(uint4);
  ReadKernel<<<Blocks(words), kThreads, 0, stream>>>(static_cast<const uint4*>(from), words, sink);
  CUDA_CHECK(cudaGetLastError());
}

void CopyOnce(const void* from, void* to, size_t bytes, cudaStream_t stream) {
  const size_t words = bytes / sizeof(uint4);
  CopyKernel<<<Blocks(words), kThreads, 0, stream>>>(static_cast<const uint4*>(from),
                                                     static_cast<uint4*>(to), words);
  CUDA_CHECK(cudaGetLastError());
}

}  // namespace moecast::kernels
