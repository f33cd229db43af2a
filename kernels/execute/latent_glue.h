// The small kernels between the products of multi-head latent attention: rotary parts put beside
// what products wrote, latents out of the cache, and the weights that absorb.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/ops/kv/kv_scheme.h"

namespace moecast::kernels {

/// A token's latent and its rotary part behind it: 576 channels.
struct LatentRows {
  const __nv_bfloat16* rows = nullptr;
  int64_t stride = 0;  // elements from one row to the next
};

/// Chunks over a past that lies in the cache.
struct ChunkContext {
  int32_t sequences = 0;
  int32_t rows = 0;                       // past and chunk of all sequences
  const int32_t* key_starts = nullptr;    // [sequences + 1] first row of each sequence's past
  const int32_t* past = nullptr;          // [sequences]
  const int32_t* chunk_starts = nullptr;  // [sequences + 1] first of the chunks' rows
};

/// Pages of one layer as LatentCache has them.
struct LatentPages {
  KvElement element = KvElement::kBf16;
  const uint8_t* pages = nullptr;
  const int32_t* block_table = nullptr;
  int32_t pages_per_sequence = 0;
};

/// to[key_starts[s] + t] = token t of sequence s: out of the cache below past[s], of the chunk's
/// rows above. `to` [rows][576] packed. REQUIRES: 16-byte aligned pointers, stride % 8 == 0.
void GatherContext(const ChunkContext& context, const LatentPages& cache, const LatentRows& chunk,
                   __nv_bfloat16* to, cudaStream_t stream);

struct HeadWidths {
  int32_t heads = 0;
  int32_t plain = 0;   // channels without a position, a multiple of 8
  int32_t rotary = 0;  // likewise
};

/// keys[t, h] = (plain[t, h], the rotary part of context row t), for every head.
///   plain  rows of heads * widths.plain, plain_stride apart
///   keys   [rows, heads, plain + rotary] packed
void AssembleKeys(int32_t rows, const HeadWidths& widths, const __nv_bfloat16* plain,
                  int64_t plain_stride, const LatentRows& context, __nv_bfloat16* keys,
                  cudaStream_t stream);

/// absorbed[t, h, latent ..] = query[t, h, plain ..], the rotary part.
///   query     [rows, heads, plain + rotary] packed
///   absorbed  [rows, heads, latent + rotary] packed
void PlaceRotary(int32_t rows, const HeadWidths& widths, int32_t latent, const __nv_bfloat16* query,
                 __nv_bfloat16* absorbed, cudaStream_t stream);

/// to[h, c, d] = from[h, d, c] for d < plain and c < latent.
void TransposeHeads(const HeadWidths& widths, int32_t latent, const __nv_bfloat16* from,
                    __nv_bfloat16* to, cudaStream_t stream);

}  // namespace moecast::kernels
