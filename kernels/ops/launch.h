// One way to launch: with programmatic dependent launch, so that a kernel's prologue overlaps the
// tail of the one before it. Every kernel of ours calls GridDependencyWait before it reads what
// another wrote.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>

#include "kernels/harness/cuda_check.h"

namespace moecast::kernels {

struct LaunchShape {
  int blocks = 1;  // in x
  int threads = 1;
  size_t shared_bytes = 0;
  int cluster = 1;   // blocks that are scheduled together; divides blocks
  int blocks_y = 1;  // at most 65535, as in z
  int blocks_z = 1;
};

template <class Kernel, class... Args>
void Launch(Kernel kernel, const LaunchShape& shape, cudaStream_t stream, Args... args) {
  if (shape.shared_bytes > 48 * 1024) {
    CUDA_CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                    static_cast<int>(shape.shared_bytes)));
  }
  cudaLaunchAttribute attributes[2]{};
  attributes[0].id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attributes[0].val.programmaticStreamSerializationAllowed = 1;
  attributes[1].id = cudaLaunchAttributeClusterDimension;
  attributes[1].val.clusterDim = {static_cast<unsigned>(shape.cluster), 1, 1};
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(shape.blocks), static_cast<unsigned>(shape.blocks_y),
                        static_cast<unsigned>(shape.blocks_z));
  config.blockDim = dim3(static_cast<unsigned>(shape.threads));
  config.dynamicSmemBytes = shape.shared_bytes;
  config.stream = stream;
  config.attrs = attributes;
  config.numAttrs = shape.cluster > 1 ? 2 : 1;
  CUDA_CHECK(cudaLaunchKernelEx(&config, kernel, args...));
}

}  // namespace moecast::kernels
