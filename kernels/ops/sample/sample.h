// Sampling of the next token from bf16 logits: greedy, or temperature with top-k and top-p.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

#include <cstdint>

namespace moecast::kernels {

/// How one row is sampled.
struct SampleRule {
  float temperature = 0;  // 0: the largest logit, ties to the lower token
  int32_t top_k = 0;      // 0: no limit
  float top_p = 1;        // 1: no limit
  float uniform = 0;      // the draw, in [0, 1)
};

/// token[r] of logits[r]. With a temperature T, weights are exp((v - max) / T); the kept values are
/// those not below the top_k-th largest, and of these the largest ones whose weights first reach
/// top_p of their sum; equal values are kept or dropped together. Tokens stand in the order of
/// their logits, largest first, equal ones by number; the one whose interval of the summed weights
/// holds uniform * sum is taken. Weights are counted in units of 2^-32 of the largest, so the
/// result does not depend on the order of summation.
///   logits  [rows, vocabulary] bf16, 16-byte aligned; not-a-number and -infinity are never taken
///   rules   [rows]
///   token   [rows]; 0 where a row holds nothing to take
/// REQUIRES: vocabulary % 8 == 0, 1 <= vocabulary <= 2^20.
/// COST: reads a row three times, the first from memory; one block per row.
void Sample(int rows, int vocabulary, const __nv_bfloat16* logits, const SampleRule* rules,
            int32_t* token, cudaStream_t stream);

}  // namespace moecast::kernels
