// Random latent pages for timing decode attention, of a size that keeps scores small.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/ops/kv/latent_layout.h"

namespace moecast::kernels {

/// Fills `count` pages of LatentLayoutOf(element): bf16 numbers uniform in [-1, 1), codes uniform,
/// scale and zero of every group such that its latents lie in about [-1, 1]. A function of
/// (seed, byte). REQUIRES: kBf16, kE4m3 or kInt4.
void FillLatents(KvElement element, uint8_t* pages, int64_t count, uint64_t seed,
                 cudaStream_t stream);

}  // namespace moecast::kernels
