// DenseProducts: the dense products of a model, each algorithm chosen once per shape.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>

#include "kernels/harness/device_buffer.h"
#include "kernels/harness/stream.h"
#include "kernels/ops/dense/dense.h"

namespace moecast::kernels {

struct DenseOperands {
  DenseShape shape;  // tokens: rows that are wanted
  const __nv_bfloat16* x = nullptr;
  const __nv_bfloat16* weight = nullptr;
  __nv_bfloat16* out = nullptr;
};

class DenseProducts {
 public:
  /// ERRORS: CudaError where the library is absent.
  explicit DenseProducts(const Stream& stream);

  /// Operands must have ComputedRows(tokens) rows. Chooses the algorithm if the shape is new: runs
  /// the product, waits for the stream. Not while a graph is captured.
  void Prepare(const DenseOperands& operands);
  /// REQUIRES: Prepare was called for the shape.
  void Launch(const DenseOperands& operands) const;

 private:
  using Key = std::array<int64_t, 6>;  // computed rows, outputs, inputs, batch, rows' strides
  static Key KeyOf(const DenseShape& shape);

  const Stream& stream_;
  std::unique_ptr<BlasLt> blas_;
  DeviceBuffer<unsigned char> workspace_;
  std::map<Key, std::unique_ptr<DenseGemm>> products_;
};

}  // namespace moecast::kernels
