// The small kernels that join ops to a model's step: token rows out of the embedding, the rows that
// need logits, the gate of a dense feed-forward block, and a pause that lets a step be queued
// before it starts.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

#include <cstdint>

namespace moecast::kernels {

/// residual[t] = table[ids[t]], x[t] = 0: what the first AddRmsNorm of a step reads.
///   table        [vocabulary, hidden] bf16, 16-byte aligned
///   residual, x  [tokens, hidden] bf16, 16-byte aligned
/// REQUIRES: hidden % 8 == 0.
void Embed(int32_t tokens, int32_t hidden, const int32_t* ids, const __nv_bfloat16* table,
           __nv_bfloat16* residual, __nv_bfloat16* x, cudaStream_t stream);

/// to[i] = from[index[i]] for rows of `hidden` bf16. REQUIRES: as Embed.
void GatherRows(int32_t rows, int32_t hidden, const int32_t* index, const __nv_bfloat16* from,
                __nv_bfloat16* to, cudaStream_t stream);

/// act[t, i] = silu(gate_up[t, i]) * gate_up[t, width + i], bf16.
///   gate_up  [tokens, 2 * width]
/// REQUIRES: width % 8 == 0; 16-byte aligned pointers.
void SwiGlu(int32_t tokens, int32_t width, const __nv_bfloat16* gate_up, __nv_bfloat16* act,
            cudaStream_t stream);

/// Occupies the stream for that long.
void Hold(uint64_t nanoseconds, cudaStream_t stream);

}  // namespace moecast::kernels
