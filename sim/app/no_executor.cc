// OpenStepExecutor of a build without CUDA.
#include "sim/model/step_executor.h"

namespace moecast {

Result<StepExecutor> OpenStepExecutor(const ExecutorRequest& /*request*/) {
  return Error{
      "this moecast was built without CUDA and cannot execute steps; build it with "
      "-DMOECAST_CUDA=ON and run it where the GPU is",
      "validate"};
}

}  // namespace moecast
