// Random pages for timing decode attention: codes of any kind, scales and zeros of a size that
// keeps scores small.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/ops/kv/page_layout.h"

namespace moecast::kernels {

/// Fills `count` pages of `layout`: bf16 elements uniform in [-1, 1), codes uniform, scale and zero
/// of every group such that its elements lie in about [-1, 1]. A function of (seed, byte).
void FillPages(const KvScheme& scheme, const PageLayout& layout, uint8_t* pages, int64_t count,
               uint64_t seed, cudaStream_t stream);

}  // namespace moecast::kernels
