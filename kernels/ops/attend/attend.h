// Decode attention: one new query per sequence over its paged cache, keys and values at any two
// widths of kv_scheme.h.
//
//   out[s, h] = sum_t p_t v_t / sum_t p_t,  p_t = exp(softmax_scale * query[s, h] . k_t),
//
// over the visible tokens t of sequence s and KV head h / (query_heads / kv_heads). Keys and values
// are what the pages stand for: a key that a scheme rotates meets a query that the caller rotated.
// The bf16 window of a scheme takes part in the same softmax.
//
// Work is split by split_plan.h, from lengths in device memory: the launch is the same whatever
// they are, and its time follows the pages that are read.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "kernels/ops/attend/attend_shape.h"
#include "kernels/ops/kv/kv_cache.h"

namespace moecast::kernels {

struct AttendArgs {
  AttendShape shape;
  KvScheme scheme;
  KvCache cache;  // read only
  /// [sequences] tokens in the cache, the newest included. 0: a padding row, whose output is left
  /// as it is.
  const int32_t* lengths = nullptr;
  const __nv_bfloat16* query = nullptr;  // [sequences][query_heads][head_dim]
  int64_t query_stride = 0;              // elements from one sequence to the next
  float softmax_scale = 0;
  VisibleTokens visible = {};
  PageSelection selection = {};
  __nv_bfloat16* out = nullptr;  // [sequences][query_heads][head_dim], packed
  void* workspace = nullptr;     // AttendWorkspaceBytes, zero before the first launch
  int32_t most_blocks = 0;       // multiprocessors to take; 0: all
};

/// Of partial results. A launch leaves at zero what the next finds at zero, so launches of one
/// stream, of whatever shapes, may share it. Depends on the shape and the card alone.
size_t AttendWorkspaceBytes(const AttendShape& shape);

/// REQUIRES: Fits(shape, scheme); lengths up to pages_per_sequence pages; 16-byte aligned query,
/// out and workspace, query_stride % 2 == 0. Scales, zeros and fp8 codes are numbers even where
/// no token is yet: set a pool to zero once.
/// Nothing is allocated and nothing synchronises; capturable in a graph.
/// COST: one launch of a block per multiprocessor; every visible page once, at the width it is
/// stored in, and of the partial results one per block. A block waits only for blocks before it,
/// which the card starts first.
void Attend(const AttendArgs& args, cudaStream_t stream);

}  // namespace moecast::kernels
