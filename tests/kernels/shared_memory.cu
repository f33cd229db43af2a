#include "kernels/harness/cuda_check.h"
#include "tests/kernels/shared_memory.h"

namespace moecast::test {
namespace {

constexpr int kThreads = 256;

__global__ void Fill(uint32_t word, int words) {
  extern __shared__ uint32_t shared[];
  volatile uint32_t* const to = shared;  // nobody reads them here
  for (int i = static_cast<int>(threadIdx.x); i < words; i += kThreads) to[i] = word;
}

}  // namespace

void FillSharedMemory(uint8_t byte, cudaStream_t stream) {
  int multiprocessors = 0;
  int bytes = 0;
  CUDA_CHECK(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, 0));
  CUDA_CHECK(cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, 0));
  CUDA_CHECK(cudaFuncSetAttribute(Fill, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes));
  // One block has a multiprocessor to itself.
  Fill<<<multiprocessors, kThreads, static_cast<size_t>(bytes), stream>>>(
      0x01010101U * byte, bytes / static_cast<int>(sizeof(uint32_t)));
  CUDA_CHECK(cudaGetLastError());
}

}  // namespace moecast::test
