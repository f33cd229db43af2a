// Attention of a chunk of new tokens: causal, bf16, grouped query heads, sequences of any length in
// one launch, over the chunk's own keys and values and over a past in the paged cache, which a
// launch of its own expands first: every query tile of every head reads it again.
//
// One persistent grid: blocks take (sequence, 128 query rows, query head) units off a counter, the
// longest of a sequence first; a copy warpgroup fills rings of keys and values, two warpgroups
// multiply and run the online softmax. docs/kernels_mla_prefill.md.
//
// Contract:
//   - pointers are device memory; rows of query, key and value are 16-byte aligned, strides
//     multiples of 8 elements;
//   - launches go to `stream`, nothing is allocated, nothing synchronises; capturable in a graph:
//     all lengths are read on the device, the grid is fixed by the card;
//   - sequences of length 0 are allowed, rows of `out` past offsets[sequences] are not written.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "kernels/ops/kv/kv_cache.h"
#include "kernels/ops/kv/kv_scheme.h"

namespace moecast::kernels {

/// Supported (key_dim, value_dim): (64, 64), (128, 128), and (192, 128), which is multi-head latent
/// attention with its keys and values expanded.
struct AttendPrefillShape {
  int32_t query_heads = 0;  // a multiple of kv_heads
  int32_t kv_heads = 0;
  int32_t key_dim = 0;  // of queries too
  int32_t value_dim = 0;
  int32_t sequences = 0;
  int32_t query_rows = 0;  // rows of query and out that exist, at least offsets[sequences]
  int32_t key_rows = 0;    // rows of key and value that exist
  float scale = 1;         // of q . k
  int32_t window = 0;      // newest keys that a query sees, its own included; 0: all
};

/// Row t of head h starts at data + t * stride + h * dim.
struct HeadRows {
  const __nv_bfloat16* data = nullptr;
  int64_t stride = 0;  // elements from one token to the next
};

/// The new tokens. Sequence s has the query rows offsets[s] .. offsets[s + 1] - 1 and the key rows
/// key_offsets[s] .. key_offsets[s + 1] - 1, at least as many; its last query belongs to its last
/// key, and every query sees the keys up to its own, those that a sliding window leaves. Keys in
/// front of the first query are a past that the caller has expanded.
struct AttendChunk {
  HeadRows query;
  HeadRows key;
  HeadRows value;
  const int32_t* offsets = nullptr;      // [sequences + 1], ascending from 0
  const int32_t* key_offsets = nullptr;  // likewise; nullptr: the same as offsets
};

/// What lies in the cache in front of the chunk's keys, visible to all of its queries. With a
/// window the cache is as it was before the chunk was appended: attend first, append then. Keys of
/// a rotated scheme are stored rotated: queries and keys of the chunk are then rotated as well.
struct AttendPast {
  KvScheme scheme;
  KvCache cache;
  const int32_t* tokens = nullptr;  // [sequences] in the cache; nullptr: no past at all
  uint8_t* expanded = nullptr;      // AttendPrefillPastBytes, overwritten; 128-byte aligned
};

/// Tokens of one KV head that are expanded together; a sequence begins with new ones.
inline constexpr int kPastTileTokens = 128;

/// Of AttendPast::expanded for `tiles`, the sum of ceil(tokens / kPastTileTokens) over sequences.
constexpr size_t AttendPrefillPastBytes(const AttendPrefillShape& shape, int64_t tiles) {
  return static_cast<size_t>(tiles * kPastTileTokens * shape.kv_heads *
                             (shape.key_dim + shape.value_dim) * 2);
}

/// Two counters, zero before the first launch; every launch leaves them zero.
inline constexpr size_t kAttendPrefillCounters = 2;

/// out[t, h] = softmax(scale q[t, h] . keys) values, bf16 [query_rows, query_heads, value_dim].
///   counters  [kAttendPrefillCounters], not shared by launches that may overlap
/// REQUIRES: Fits(past.scheme, key_dim) where there is a past, and key_dim == value_dim then.
/// COST: one launch, two with a past.
/// ERRORS: CudaError, also for dimensions not listed above and when the card is no Hopper.
void AttendPrefill(const AttendPrefillShape& shape, const AttendChunk& chunk,
                   const AttendPast& past, __nv_bfloat16* out, uint32_t* counters,
                   cudaStream_t stream);

}  // namespace moecast::kernels
