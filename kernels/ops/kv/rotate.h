// Rotating heads by one orthogonal matrix, in place: what SAW-INT4 (a Hadamard matrix) and OSCAR (a
// calibrated one) do to keys before they are stored and to queries before they meet them.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

#include <cstdint>

namespace moecast::kernels {

struct RotateArgs {
  int32_t rows = 0;
  int32_t heads = 0;  // of a row, side by side; queries and keys of a fused product in one launch
  int32_t head_dim = 0;  // 64 or 128
  int64_t stride = 0;    // elements from one row to the next
  __nv_bfloat16* heads_data = nullptr;
  /// [head_dim][head_dim] bf16, row c holds column c of R / factor: +1 and -1 are exact, and the
  /// factor 1 / sqrt(head_dim) of a Hadamard matrix stands apart.
  const __nv_bfloat16* columns = nullptr;
  float factor = 1;
};

/// Every head h becomes h R, summed in float32 and rounded to bf16.
/// REQUIRES: pointers 16-byte aligned, stride a multiple of 8.
/// COST: one launch; reads and writes the heads once; 2 head_dim^2 operations per head.
void RotateHeads(const RotateArgs& args, cudaStream_t stream);

}  // namespace moecast::kernels
