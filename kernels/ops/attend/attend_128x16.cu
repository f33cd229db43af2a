#include "kernels/ops/attend/attend_kernel.cuh"
#include "kernels/ops/attend/instances.h"

namespace moecast::kernels {

void LaunchAttend128x16(const KernelArgs& args, int blocks, cudaStream_t stream) {
  LaunchAttend<128, 2>(args, blocks, stream);
}

}  // namespace moecast::kernels
