#include "kernels/ops/attend/attend_kernel.cuh"
#include "kernels/ops/attend/instances.h"

namespace moecast::kernels {

void LaunchAttend64x16(const KernelArgs& args, int blocks, cudaStream_t stream) {
  LaunchAttend<64, 2>(args, blocks, stream);
}

}  // namespace moecast::kernels
