// Appending one token per sequence to a paged cache of keys and values: the decode step's write.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/ops/kv/kv_cache.h"

namespace moecast::kernels {

struct AppendArgs {
  KvShape shape = {};
  KvScheme scheme = {};
  KvCache cache = {};
  int32_t sequences = 0;
  /// [sequences] tokens of each sequence, the new one included; 0: a padding row, which is skipped.
  const int32_t* lengths = nullptr;
  /// [sequences][kv_heads * head_dim] bf16, rotated already where the scheme rotates keys.
  const __nv_bfloat16* keys = nullptr;
  const __nv_bfloat16* values = nullptr;
  int64_t key_stride = 0;  // elements from one sequence's row to the next
  int64_t value_stride = 0;
};

/// Stores token lengths[s] - 1 of every sequence. Without a window it is quantised into its page.
/// With one it enters the ring in bf16, and where that fills the ring the oldest `flush` tokens
/// are quantised into their pages in the same launch: which sequences flush is read on the device,
/// so a captured graph need not change. A part with shares_codes writes scales and zeros only.
/// Of values below 16 bits the place of the token after an even one is cleared.
/// REQUIRES: Fits(scheme, head_dim); keys and values 16-byte aligned, strides multiples of 8;
/// tables name pages for all tokens. Lengths and tables were written before the launch in front of
/// this one began, as a step's are; keys and values may be that launch's output.
/// COST: one launch; reads and writes the new rows, and of each flush 2 x flush rows per head.
void AppendTokens(const AppendArgs& args, cudaStream_t stream);

/// Whether the launch at which a sequence reaches `tokens` flushes it.
constexpr bool FlushesAt(const KvWindow& window, int64_t tokens) {
  const int64_t leaving = tokens - window.sink - window.recent;
  return window.flush > 0 && leaving > 0 && leaving % window.flush == 0;
}

}  // namespace moecast::kernels
