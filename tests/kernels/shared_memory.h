// What a kernel finds in shared memory that it has not written.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace moecast::test {

/// Leaves `byte` in all shared memory of every multiprocessor. ERRORS: CudaError.
void FillSharedMemory(uint8_t byte, cudaStream_t stream);

}  // namespace moecast::test
