#include "kernels/side_by_side/library_products.h"

#include <string>

namespace moecast::kernels {
namespace {

constexpr size_t kWorkspaceBytes = size_t{64} << 20;

void Check(cublasStatus_t status, const char* call) {
  if (status != CUBLAS_STATUS_SUCCESS)
    throw CudaError(std::string(call) + ": " + cublasGetStatusString(status));
}

template <class T>
DeviceBuffer<T> ToDevice(const std::vector<T>& values) {
  return DeviceBuffer<T>(std::span<const T>(values));
}

}  // namespace

CublasHandle::CublasHandle(cudaStream_t stream) : workspace_(kWorkspaceBytes) {
  Check(cublasCreate(&handle_), "cublasCreate");
  Check(cublasSetStream(handle_, stream), "cublasSetStream");
  Check(cublasSetWorkspace(handle_, workspace_.data(), workspace_.size()), "cublasSetWorkspace");
}

// Row-major out = in W^T is column-major out^T = (W^T)^T in^T.
GroupedProduct::GroupedProduct(const Operands& operands, const reference::Alignment& rows) {
  const size_t groups = rows.active_experts.size();
  transposed_.assign(groups, CUBLAS_OP_T);
  plain_.assign(groups, CUBLAS_OP_N);
  m_.assign(groups, operands.n);
  k_.assign(groups, operands.k);
  sizes_.assign(groups, 1);
  one_.assign(groups, 1);
  zero_.assign(groups, 0);
  std::vector<const void*> weights;
  std::vector<const void*> in;
  std::vector<void*> out;
  for (size_t i = 0; i < groups; ++i) {
    n_.push_back(rows.offsets[i + 1] - rows.offsets[i]);
    weights.push_back(operands.weights + int64_t{rows.active_experts[i]} * operands.n * operands.k);
    in.push_back(operands.in + int64_t{rows.offsets[i]} * operands.k);
    out.push_back(operands.out + int64_t{rows.offsets[i]} * operands.n);
  }
  weights_ = ToDevice(weights);
  in_ = ToDevice(in);
  out_ = ToDevice(out);
}

void GroupedProduct::Launch(const CublasHandle& handle) const {
  Check(cublasGemmGroupedBatchedEx(
            handle.get(), transposed_.data(), plain_.data(), m_.data(), n_.data(), k_.data(),
            one_.data(), weights_.data(), CUDA_R_16BF, k_.data(), in_.data(), CUDA_R_16BF,
            k_.data(), zero_.data(), out_.data(), CUDA_R_16BF, m_.data(),
            static_cast<int>(sizes_.size()), sizes_.data(), CUBLAS_COMPUTE_32F),
        "cublasGemmGroupedBatchedEx");
}

}  // namespace moecast::kernels
