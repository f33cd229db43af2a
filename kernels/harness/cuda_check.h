// CUDA_CHECK: a failed runtime call becomes an exception that main() prints. Used only in kernels/.
#pragma once

#include <cuda_runtime_api.h>

#include <stdexcept>
#include <string>

namespace moecast::kernels {

/// A failed CUDA call, with its place and text.
class CudaError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

inline void CheckCuda(cudaError_t status, const char* expression, const char* file, int line) {
  if (status == cudaSuccess) return;
  throw CudaError(std::string(file) + ":" + std::to_string(line) + ": " + expression + ": " +
                  cudaGetErrorName(status) + ": " + cudaGetErrorString(status));
}

}  // namespace moecast::kernels

// NOLINTNEXTLINE(cppcoreguidelines-macro-usage): needs the expression's text and place.
#define CUDA_CHECK(expression) \
  ::moecast::kernels::CheckCuda((expression), #expression, __FILE__, __LINE__)
