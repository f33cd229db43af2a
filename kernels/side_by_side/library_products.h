// The vendor's grouped product on the same shapes: cublasGemmGroupedBatchedEx, bf16 with fp32
// accumulation, one group per expert in use. Its group sizes are host arrays, so a routing decided
// on the device would have to travel to the host first; that is not counted here.
#pragma once

#include <cublas_v2.h>
#include <cuda_bf16.h>

#include <cstdint>
#include <vector>

#include "kernels/harness/device_buffer.h"
#include "kernels/ops/route/reference.h"

namespace moecast::kernels {

class CublasHandle {
 public:
  explicit CublasHandle(cudaStream_t stream);
  ~CublasHandle() { cublasDestroy(handle_); }
  // The library keeps the address.
  CublasHandle(const CublasHandle&) = delete;
  CublasHandle& operator=(const CublasHandle&) = delete;
  [[nodiscard]] cublasHandle_t get() const { return handle_; }

 private:
  cublasHandle_t handle_ = nullptr;
  DeviceBuffer<uint8_t> workspace_;
};

/// out[row] = in[row] W_e^T for the rows of every expert of a routing, W_e [n, k] row-major.
class GroupedProduct {
 public:
  struct Operands {
    const __nv_bfloat16* in = nullptr;       // [A, k]
    const __nv_bfloat16* weights = nullptr;  // [E, n, k]
    __nv_bfloat16* out = nullptr;            // [A, n]
    int n = 0;
    int k = 0;
  };
  GroupedProduct(const Operands& operands, const reference::Alignment& rows);

  /// ERRORS: CudaError with the library's status.
  void Launch(const CublasHandle& handle) const;

 private:
  std::vector<cublasOperation_t> transposed_;
  std::vector<cublasOperation_t> plain_;
  std::vector<int> m_;
  std::vector<int> n_;
  std::vector<int> k_;
  std::vector<int> sizes_;
  std::vector<float> one_;
  std::vector<float> zero_;
  DeviceBuffer<const void*> weights_;
  DeviceBuffer<const void*> in_;
  DeviceBuffer<void*> out_;
};

}  // namespace moecast::kernels
