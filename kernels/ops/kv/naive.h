// First rung of writing the cache: what append.h and pack.h state, a thread per group of codes and
// one per value that enters the window. For comparison only.
#pragma once

#include "kernels/ops/kv/append.h"
#include "kernels/ops/kv/pack.h"

namespace moecast::kernels {

/// AppendTokens and PackTokens without their speed.
/// COST: one launch, two where the scheme has a window; every value is read at least twice.
void AppendNaive(const AppendArgs& args, cudaStream_t stream);
void PackNaive(const PackArgs& args, cudaStream_t stream);

}  // namespace moecast::kernels
