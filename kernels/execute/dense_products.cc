#include "kernels/execute/dense_products.h"

namespace moecast::kernels {

DenseProducts::DenseProducts(const Stream& stream)
    : stream_(stream), blas_(BlasLt::Open()), workspace_(DenseGemm::kWorkspaceBytes) {
  if (blas_ == nullptr) throw CudaError("libcublasLt.so is not found; dense products need it");
}

int32_t DenseProducts::ComputedRows(int32_t rows) {
  constexpr int32_t kExact = 256;
  constexpr int32_t kStep = 64;
  return rows <= kExact ? rows : (rows + kStep - 1) / kStep * kStep;
}

DenseProducts::Shape DenseProducts::ShapeOf(const DenseOperands& operands) {
  return {ComputedRows(operands.rows), operands.outputs, operands.inputs};
}

void DenseProducts::Prepare(const DenseOperands& operands) {
  const Shape shape = ShapeOf(operands);
  if (products_.contains(shape)) return;
  products_.emplace(
      shape, std::make_unique<DenseGemm>(
                 *blas_, DenseShape{.tokens = shape[0], .outputs = shape[1], .inputs = shape[2]},
                 operands.x, operands.weight, operands.out, stream_, workspace_.data()));
}

void DenseProducts::Launch(const DenseOperands& operands) const {
  products_.at(ShapeOf(operands))->Launch(operands.x, operands.weight, operands.out, stream_.get());
}

}  // namespace moecast::kernels
