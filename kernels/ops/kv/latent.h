// Appending tokens to a paged cache of latents (multi-head latent attention): a decode step's one
// per sequence, or the chunks of a prefill.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/ops/kv/latent_layout.h"

namespace moecast::kernels {

struct LatentArgs {
  KvElement element = KvElement::kBf16;  // kBf16, kE4m3 or kInt4
  uint8_t* pages = nullptr;              // LatentLayoutOf(element), 128-byte aligned
  const int32_t* block_table = nullptr;  // [sequences][pages_per_sequence], entry token / 64
  int32_t pages_per_sequence = 0;
  int32_t sequences = 0;
  int32_t most_new_tokens = 1;  // of one sequence; sets the grid
  /// [sequences + 1] rows of sequence s are row_starts[s] .. row_starts[s + 1] - 1; nullptr: row s.
  const int32_t* row_starts = nullptr;
  /// [sequences] tokens of each sequence, the new ones included; 0: skipped.
  const int32_t* lengths = nullptr;
  const __nv_bfloat16* latents = nullptr;  // [rows][512], normalised
  const __nv_bfloat16* rotary = nullptr;   // [rows][64], rotated by position
  int64_t latent_stride = 0;               // elements from one row to the next
  int64_t rotary_stride = 0;
};

/// REQUIRES: inputs 16-byte aligned, strides multiples of 8; the table names pages for all tokens.
/// COST: one launch; reads the new rows and writes them once.
void AppendLatents(const LatentArgs& args, cudaStream_t stream);

}  // namespace moecast::kernels
