// The instances of the kernel of decode attention, one source file each: head dimension x query
// heads of a KV head that it holds.
#pragma once

#include <cuda_runtime_api.h>

#include "kernels/ops/attend/kernel_args.h"

namespace moecast::kernels {

/// On `blocks` blocks of args.block.
void LaunchAttend64x8(const KernelArgs& args, int blocks, cudaStream_t stream);
void LaunchAttend64x16(const KernelArgs& args, int blocks, cudaStream_t stream);
void LaunchAttend128x8(const KernelArgs& args, int blocks, cudaStream_t stream);
void LaunchAttend128x16(const KernelArgs& args, int blocks, cudaStream_t stream);

}  // namespace moecast::kernels
