// Decode attention of multi-head latent attention: one new query per sequence over paged latents at
// 16, 8 or 4 bits. Queries are absorbed: their first 512 channels have been multiplied with the
// key half of the up-projection, so that
//
//   out[s, h] = sum_t p_t c_t / sum_t p_t,
//   p_t = exp(scale (q[s, h, 0..511] . c_t + q[s, h, 512..575] . r_t)),
//
// with c_t a token's latent and r_t its rotary part; the value half of the up-projection is applied
// to the result by the caller.                                                [DeepSeekV2, 2.1.2]
//
// Work is cut in equal shares of pages, whatever the lengths are; blocks that share a sequence
// merge their parts in the same launch. docs/kernels_mla_prefill.md.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "kernels/ops/kv/kv_scheme.h"
#include "kernels/ops/kv/latent_layout.h"

namespace moecast::kernels {

struct AttendMlaShape {
  int32_t sequences = 0;
  int32_t query_heads = 0;               // 8, 16, 32, or a multiple of 64
  KvElement element = KvElement::kBf16;  // of latents: kBf16, kE4m3 or kInt4

  bool operator==(const AttendMlaShape&) const = default;
};

/// Pages of one layer, LatentLayoutOf(element), 128-byte aligned.
struct LatentCache {
  const uint8_t* pages = nullptr;
  int64_t page_count = 0;                // of the pool
  const int32_t* block_table = nullptr;  // [sequences][pages_per_sequence], entry token / 64
  int32_t pages_per_sequence = 0;
};

struct AttendMlaArgs {
  AttendMlaShape shape;
  LatentCache cache;
  /// [sequences] tokens in the cache, the newest included. 0: a padding row, whose output is left
  /// as it is.
  const int32_t* lengths = nullptr;
  const __nv_bfloat16* query = nullptr;  // [sequences][query_heads][576], packed
  float scale = 0;
  __nv_bfloat16* out = nullptr;  // [sequences][query_heads][512], packed
  void* workspace = nullptr;     // AttendMlaWorkspaceBytes, zero before the first launch
};

/// Of partial results and counters; every launch leaves the counters zero, so launches of one
/// stream may share it. Depends on the shape and the card alone.
size_t AttendMlaWorkspaceBytes(const AttendMlaShape& shape);

/// REQUIRES: pointers 16-byte aligned; pages named by the table hold no not-a-number, not even
/// where no token is yet: set a pool to zero once. Blocks wait for each other: no more than one
/// per multiprocessor, nothing else may hold a multiprocessor for good. Latents at 8 and 4 bits
/// are multiplied as f16: none beyond 65504; fp8 scales below 2^-14 add errors of up to 2^-16.
/// Nothing is allocated and nothing synchronises; capturable in a graph.
/// COST: one launch; every token once per 64 query heads, from HBM the first time.
/// ERRORS: CudaError, also for other numbers of heads or elements and when the card is no Hopper.
void AttendMla(const AttendMlaArgs& args, cudaStream_t stream);

}  // namespace moecast::kernels
