#include "kernels/execute/dense_products.h"

#include "sim/model/computed_rows.h"

namespace moecast::kernels {

DenseProducts::DenseProducts(const Stream& stream)
    : stream_(stream), blas_(BlasLt::Open()), workspace_(DenseGemm::kWorkspaceBytes) {
  if (blas_ == nullptr) throw CudaError("libcublasLt.so is not found; dense products need it");
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
  computed.tokens = static_cast<int32_t>(ComputedRows(computed.tokens));
  products_.emplace(key, std::make_unique<DenseGemm>(*blas_, computed, operands.x, operands.weight,
                                                     operands.out, stream_, workspace_.data()));
}

void DenseProducts::Launch(const DenseOperands& operands) const {
  products_.at(KeyOf(operands.shape))
      ->Launch(operands.x, operands.weight, operands.out, stream_.get());
}

}  // namespace moecast::kernels
