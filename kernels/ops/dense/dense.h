// Dense products of the parts of a layer that no skip rule touches: projections, router, shared
// experts, output head. NVIDIA's library does them; the algorithm is chosen by trying.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/harness/device_buffer.h"
#include "kernels/harness/stream.h"
#include "kernels/ops/dense/blas_lt.h"

namespace moecast::kernels {

struct DenseShape {
  int32_t tokens = 0;
  int32_t outputs = 0;
  int32_t inputs = 0;
  bool fp8 = false;   // e4m3 operands with one float32 scale each; else bf16
  int32_t batch = 1;  // products of this size, each with a weight of its own behind the last one's
  // Elements from one row to the next and from one product to the next. 0: rows are packed.
  int64_t x_row = 0;
  int64_t x_product = 0;
  int64_t out_row = 0;
  int64_t out_product = 0;
};

/// out[t, o] = sum over i of x[t, i] * weight[o, i], in bf16; fp8 products are multiplied by both
/// scales, here one.
///   x       [tokens, inputs] row-major
///   weight  [batch][outputs, inputs] row-major
///   out     [tokens, outputs] row-major bf16
/// REQUIRES: 16-byte aligned pointers, rows and products; inputs % 16 == 0 and outputs % 16 == 0;
/// both strides of products where batch > 1.
class DenseGemm {
 public:
  static constexpr size_t kWorkspaceBytes = size_t{32} << 20;  // what the library recommends

  /// Asks the library for its candidates, runs each on the given operands and keeps the fastest.
  ///   workspace  [kWorkspaceBytes], shared by products of one stream; nullptr: one of its own
  /// ERRORS: throws CudaError when there is none. COST: some milliseconds; waits for the stream.
  DenseGemm(const BlasLt& blas, const DenseShape& shape, const void* x, const void* weight,
            __nv_bfloat16* out, const Stream& stream, unsigned char* workspace = nullptr);
  ~DenseGemm();
  // Owns library objects.
  DenseGemm(const DenseGemm&) = delete;
  DenseGemm& operator=(const DenseGemm&) = delete;

  void Launch(const void* x, const void* weight, __nv_bfloat16* out, cudaStream_t stream) const;

 private:
  void Describe(const DenseShape& shape);
  void DescribeBatch(const DenseShape& shape);
  void Choose(const void* x, const void* weight, __nv_bfloat16* out, const Stream& stream);

  const BlasLt& blas_;
  DeviceBuffer<float> one_;                    // the scale of fp8 operands
  DeviceBuffer<unsigned char> own_workspace_;  // empty where it is shared
  unsigned char* workspace_;
  cublasLtMatmulDesc_t operation_ = nullptr;
  cublasLtMatrixLayout_t of_weight_ = nullptr;
  cublasLtMatrixLayout_t of_x_ = nullptr;
  cublasLtMatrixLayout_t of_out_ = nullptr;
  cublasLtMatmulAlgo_t algorithm_{};
};

}  // namespace moecast::kernels
