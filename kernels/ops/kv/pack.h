// Appending the tokens of a prefill, or of a chunk of one, to a paged cache of keys and values.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/ops/kv/kv_cache.h"

namespace moecast::kernels {

struct PackArgs {
  KvShape shape = {};
  KvScheme scheme = {};
  KvCache cache = {};
  int32_t sequences = 0;
  int32_t most_new_tokens = 0;  // of one sequence; sets the grid
  /// [sequences + 1] rows of sequence s are row_starts[s] .. row_starts[s + 1] - 1.
  const int32_t* row_starts = nullptr;
  /// [sequences] tokens of each sequence, the new ones included.
  const int32_t* lengths = nullptr;
  /// [rows][kv_heads * head_dim] bf16, rotated already where the scheme rotates keys.
  const __nv_bfloat16* keys = nullptr;
  const __nv_bfloat16* values = nullptr;
  int64_t key_stride = 0;  // elements from one row to the next
  int64_t value_stride = 0;
};

/// Stores the newest row_starts[s + 1] - row_starts[s] tokens of every sequence, which leaves the
/// cache as appending them one by one would: tokens that have left the window are quantised, also
/// those that an earlier launch had put there, and the others of the new ones enter it. What it
/// leaves behind a sequence's end means nothing, but fp8 codes there are numbers (AttendArgs).
/// REQUIRES: as AppendTokens, row_starts as lengths; no sequence has more than most_new_tokens new
/// rows; at most 65535 sequences, and pages of one.
/// COST: one launch; reads the new rows and what the window gives up, writes the pages.
void PackTokens(const PackArgs& args, cudaStream_t stream);

}  // namespace moecast::kernels
