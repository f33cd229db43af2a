// The gate product: logits of every token and expert, split along K. Used by route.cu only.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

#include "kernels/ops/expert_shape.h"

namespace moecast::kernels {

/// Parts into which the product's K is split.
__host__ __device__ constexpr int GateSplits(int hidden) {
  constexpr int kColumns = 1024;
  return (hidden + kColumns - 1) / kColumns;
}
/// Floats of one token in one split: experts rounded up to a fragment, so that rows are aligned.
__host__ __device__ constexpr int LogitPitch(int experts) {
  return (experts + kFragmentRows - 1) / kFragmentRows * kFragmentRows;
}

/// partial[split][t][e], pitch LogitPitch. Columns from E on are undefined.
void GateProduct(const ExpertShape& shape, const __nv_bfloat16* x, const __nv_bfloat16* gate,
                 float* partial, cudaStream_t stream);

}  // namespace moecast::kernels
