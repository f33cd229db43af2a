// Where one layer's cache lies in device memory. Views only: nothing here owns memory.
#pragma once

#include <cstdint>

#include "kernels/ops/kv/page_layout.h"

namespace moecast::kernels {

/// Pools are 128-byte aligned; a page of a pool is addressed by PageStart.
struct KvCache {
  uint8_t* pages = nullptr;  // quantised pages, LayoutOf(scheme, head_dim)
  /// The pool whose codes are read by parts with shares_codes, under the same block table: another
  /// layer's. Unused otherwise.
  const uint8_t* code_pages = nullptr;
  PageLayout code_layout = {};           // of that pool
  const int32_t* block_table = nullptr;  // [sequences][pages_per_sequence], entry token / 64
  int32_t pages_per_sequence = 0;
  uint8_t* window = nullptr;              // bf16 pages, WindowLayout(head_dim); nullptr: no window
  const int32_t* window_table = nullptr;  // [sequences][WindowPages(scheme.window)]
};

}  // namespace moecast::kernels
