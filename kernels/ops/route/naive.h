// The first rung of the routing ladder: the same contract as Route, written so that it can be read
// at a glance. A thread per logit, then a thread per token, then one thread for the alignment.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

#include "kernels/ops/route/route.h"

namespace moecast::kernels {

/// As Route, without bias, groups and batch rules.
/// REQUIRES: hidden % 32 == 0; the limits of Route.
void RouteNaive(const ExpertShape& shape, const RoutingRule& rule, const __nv_bfloat16* x,
                const __nv_bfloat16* gate, const RouteBuffers& buffers, cudaStream_t stream);

}  // namespace moecast::kernels
