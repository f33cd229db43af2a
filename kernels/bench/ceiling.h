// Kernels that do nothing but set a ceiling: an empty launch, a read and a copy of memory.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>

namespace moecast::kernels {

/// One launch of `blocks` blocks of 256 threads that do nothing.
void EmptyPlain(int blocks, cudaStream_t stream);
/// The same with a programmatic dependency on the launch before it.
void EmptyDependent(int blocks, cudaStream_t stream);

/// Reads `bytes` once; writes 4 bytes to `sink` only if the data says so, which random data do not.
/// REQUIRES: from is 16-byte aligned, bytes % 16 == 0.
void ReadOnce(const void* from, size_t bytes, unsigned* sink, cudaStream_t stream);
/// REQUIRES: both 16-byte aligned and apart, bytes % 16 == 0.
void CopyOnce(const void* from, void* to, size_t bytes, cudaStream_t stream);

}  // namespace moecast::kernels
