// The first rung of the ladder: the expert products as one would first write them. One warp per
// result; every result reads its weight row anew. bf16 only.
#pragma once

#include "kernels/ops/expert_gemm/expert_gemm.h"

namespace moecast::kernels::naive {

/// As kernels::GateUpSwiGlu, with row-major weights.
///   gate_up  [E][2I, H]; 16 rows of gate, then 16 rows of up, in turn
void GateUpSwiGlu(const ExpertShape& shape, const ExpertSlots& slots, const __nv_bfloat16* x,
                  const __nv_bfloat16* gate_up, __nv_bfloat16* act, cudaStream_t stream);

/// As kernels::Down, with row-major weights.
///   down     [E][H, I]
void Down(const ExpertShape& shape, const ExpertSlots& slots, const __nv_bfloat16* act,
          const __nv_bfloat16* down, __nv_bfloat16* y, cudaStream_t stream);

}  // namespace moecast::kernels::naive
