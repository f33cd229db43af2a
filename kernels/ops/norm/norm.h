// Residual addition and RMS normalisation in one pass.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

#include <cstdint>

namespace moecast::kernels {

/// Largest row that one block holds in registers.
inline constexpr int kMaxNormHidden = 16384;

struct NormShape {
  int32_t tokens = 0;
  int32_t hidden = 0;
  float epsilon = 1e-6F;
};

/// residual[t] += x[t], rounded to bf16; out[t] = weight * residual[t] / rms(residual[t]) with
/// rms(v) = sqrt(mean(v^2) + epsilon), of the rounded residual.                     [Zhang19 Eq. 4]
///   x, residual, out  [tokens, hidden] bf16, 16-byte aligned, apart
///   weight            [hidden] bf16
/// REQUIRES: hidden % 8 == 0, hidden <= kMaxNormHidden, tokens >= 1.
/// COST: reads x, residual and weight once, writes residual and out once.
void AddRmsNorm(const NormShape& shape, const __nv_bfloat16* x, const __nv_bfloat16* weight,
                __nv_bfloat16* residual, __nv_bfloat16* out, cudaStream_t stream);

/// The first rung: a thread per token, the row read twice.
void AddRmsNormNaive(const NormShape& shape, const __nv_bfloat16* x, const __nv_bfloat16* weight,
                     __nv_bfloat16* residual, __nv_bfloat16* out, cudaStream_t stream);

}  // namespace moecast::kernels
