#include "kernels/execute/dense_products.h"

namespace moecast::kernels {

DenseProducts::DenseProducts(const Stream& stream)
    : stream_(stream), blas_(BlasLt::Open()), workspace_(DenseGemm::kWorkspaceBytes) {
  if (blas_ == nullptr) throw CudaError("libcublasLt.so is not found; dense products need it");
}

int32_t DenseProducts::ComputedRows(int32_t rows) {
  constexpr int32_t kExact = 16;
  constexpr int32_t kFine = 256;
  constexpr int32_t kFineStep = 8;
  constexpr int32_t kStep = 64;
  if (rows <= kExact) return rows;
  const int32_t step = rows <= kFine ? kFineStep : kStep;
  return (rows + step - 1) / step * step;
}

DenseProducts::Key DenseProducts::KeyOf(const DenseShape& shape) {
  return {ComputedRows(shape.tokens),
          shape.outputs,
          shape.inputs,
          shape.batch,
          shape.x_row,
          shape.out_row};
}

void DenseProducts::Prepare(const DenseOperands& operands) {
  const Key key = KeyOf(operands.shape);
  if (products_.contains(key)) return;
  DenseShape computed = operands.shape;
  computed.tokens = ComputedRows(computed.tokens);
  products_.emplace(key, std::make_unique<DenseGemm>(*blas_, computed, operands.x, operands.weight,
                                                     operands.out, stream_, workspace_.data()));
}

void DenseProducts::Launch(const DenseOperands& operands) const {
  products_.at(KeyOf(operands.shape))
      ->Launch(operands.x, operands.weight, operands.out, stream_.get());
}

}  // namespace moecast::kernels
