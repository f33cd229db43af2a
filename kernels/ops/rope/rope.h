// Rotary position embedding of queries and keys, in place.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

#include "kernels/ops/rope/rope_table.h"

namespace moecast::kernels {

/// (a, b) becomes (a cos - b sin, b cos + a sin) for every rotated pair of every head; elements
/// from shape.rotary on are left alone.
///   query      [tokens, query_heads, head] bf16, 16-byte aligned, tokens query_stride apart
///   key        [tokens, key_heads, head] bf16, 16-byte aligned, tokens key_stride apart
///   positions  [tokens], each a row of the table
///   table      [positions][rotary], see RopeTable
/// REQUIRES: head % 8 == 0; rotary % 16 == 0 and rotary <= head.
/// COST: reads and writes the rotated parts once; reads the tokens' rows of the table.
void Rope(const RopeShape& shape, const int32_t* positions, const float* table,
          __nv_bfloat16* query, __nv_bfloat16* key, cudaStream_t stream);

/// The first rung: a thread per pair, heads packed.
void RopeNaive(const RopeShape& shape, const int32_t* positions, const float* table,
               __nv_bfloat16* query, __nv_bfloat16* key, cudaStream_t stream);

}  // namespace moecast::kernels
