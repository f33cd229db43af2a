// The first rung of decode attention: the definition, one element after the other.
#pragma once

#include "kernels/ops/attend/attend.h"

namespace moecast::kernels {

/// Attend without its speed; args.workspace is not used. COST: reads every element of the cache
/// once per query head, twice the keys.
void AttendNaive(const AttendArgs& args, cudaStream_t stream);

}  // namespace moecast::kernels
