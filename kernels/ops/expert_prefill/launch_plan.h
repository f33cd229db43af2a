// What the entry points of the compute-bound products share: the persistent grid and the int4 form
// they forward to.
#pragma once

#include <cuda_runtime_api.h>

#include "kernels/ops/expert_prefill/expert_prefill.h"

namespace moecast::kernels {

/// One block per multiprocessor of the current device.
int PersistentBlocks();

void PrefillGateUpInt4(const ExpertShape& shape, const ExpertSlots& slots,
                       const PrefillWeights& weights, const PrefillRows& x, const PrefillRows& act,
                       cudaStream_t stream);
void PrefillDownInt4(const ExpertShape& shape, const ExpertSlots& slots,
                     const PrefillWeights& weights, const PrefillRows& act, __nv_bfloat16* y,
                     cudaStream_t stream);

}  // namespace moecast::kernels
