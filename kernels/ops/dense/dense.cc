#include "kernels/ops/dense/dense.h"

#include <array>
#include <limits>
#include <span>
#include <string>

namespace moecast::kernels {
namespace {

constexpr int kCandidates = 8;
constexpr int kRunsPerCandidate = 3;

void CheckBlas(cublasStatus_t status, const char* what) {
  if (status != CUBLAS_STATUS_SUCCESS)
    throw CudaError(std::string(what) + ": cuBLASLt status " +
                    std::to_string(static_cast<int>(status)));
}

}  // namespace

// The library is column-major: out transposed [outputs, tokens] = weight * x transposed, and a
// row-major [rows, inputs] matrix is a column-major [inputs, rows] one.
void DenseGemm::Describe(const DenseShape& shape) {
  const BlasLtCalls& call = blas_.calls();
  const cudaDataType_t in = shape.fp8 ? CUDA_R_8F_E4M3 : CUDA_R_16BF;
  const auto outputs = static_cast<uint64_t>(shape.outputs);
  const auto inputs = static_cast<uint64_t>(shape.inputs);
  const auto tokens = static_cast<uint64_t>(shape.tokens);
  CheckBlas(call.desc_create(&operation_, CUBLAS_COMPUTE_32F, CUDA_R_32F), "descriptor");
  const cublasOperation_t transpose = CUBLAS_OP_T;
  CheckBlas(call.desc_set(operation_, CUBLASLT_MATMUL_DESC_TRANSA, &transpose, sizeof(transpose)),
            "transpose");
  if (shape.fp8) {
    const float* const scale = one_.data();
    for (const auto attribute :
         {CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, CUBLASLT_MATMUL_DESC_B_SCALE_POINTER})
      CheckBlas(call.desc_set(operation_, attribute, &scale, sizeof(scale)), "scale");
  }
  CheckBlas(call.layout_create(&of_weight_, in, inputs, outputs, shape.inputs), "layout");
  const int64_t x_row = shape.x_row > 0 ? shape.x_row : shape.inputs;
  const int64_t out_row = shape.out_row > 0 ? shape.out_row : shape.outputs;
  CheckBlas(call.layout_create(&of_x_, in, inputs, tokens, x_row), "layout");
  CheckBlas(call.layout_create(&of_out_, CUDA_R_16BF, outputs, tokens, out_row), "layout");
  if (shape.batch > 1) DescribeBatch(shape);
}

void DenseGemm::DescribeBatch(const DenseShape& shape) {
  const int64_t weight_product = int64_t{shape.outputs} * shape.inputs;
  const auto set = [&](cublasLtMatrixLayout_t layout, int64_t stride) {
    const BlasLtCalls& call = blas_.calls();
    CheckBlas(call.layout_set(layout, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &shape.batch,
                              sizeof(shape.batch)),
              "batch");
    CheckBlas(call.layout_set(layout, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &stride,
                              sizeof(stride)),
              "batch");
  };
  set(of_weight_, weight_product);
  set(of_x_, shape.x_product);
  set(of_out_, shape.out_product);
}

void DenseGemm::Choose(const void* x, const void* weight, __nv_bfloat16* out,
                       const Stream& stream) {
  const BlasLtCalls& call = blas_.calls();
  cublasLtMatmulPreference_t preference = nullptr;
  CheckBlas(call.preference_create(&preference), "preference");
  std::array<cublasLtMatmulHeuristicResult_t, kCandidates> found{};
  int count = 0;
  cublasStatus_t status = call.preference_set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                              &kWorkspaceBytes, sizeof(kWorkspaceBytes));
  if (status == CUBLAS_STATUS_SUCCESS)
    status = call.heuristic(blas_.handle(), operation_, of_weight_, of_x_, of_out_, of_out_,
                            preference, kCandidates, found.data(), &count);
  call.preference_destroy(preference);
  CheckBlas(status, "heuristic");
  double best = std::numeric_limits<double>::infinity();
  cublasLtMatmulAlgo_t fastest{};
  for (const auto& candidate : std::span(found).first(static_cast<size_t>(count))) {
    if (candidate.state != CUBLAS_STATUS_SUCCESS) continue;
    algorithm_ = candidate.algo;
    Launch(x, weight, out, stream.get());
    const Event start;
    const Event end;
    start.Record(stream);
    for (int run = 0; run < kRunsPerCandidate; ++run) Launch(x, weight, out, stream.get());
    end.Record(stream);
    end.Synchronize();
    const double took = end.MicrosecondsSince(start);
    if (took < best) best = took, fastest = candidate.algo;
  }
  if (best == std::numeric_limits<double>::infinity())
    throw CudaError("cuBLASLt has no algorithm for this product");
  algorithm_ = fastest;
}

DenseGemm::DenseGemm(const BlasLt& blas, const DenseShape& shape, const void* x, const void* weight,
                     __nv_bfloat16* out, const Stream& stream, unsigned char* workspace)
    : blas_(blas),
      one_(1),
      own_workspace_(workspace == nullptr ? kWorkspaceBytes : 0),
      workspace_(workspace == nullptr ? own_workspace_.data() : workspace) {
  const float one = 1;
  one_.CopyFrom({&one, 1});
  Describe(shape);
  Choose(x, weight, out, stream);
}

DenseGemm::~DenseGemm() {
  const BlasLtCalls& call = blas_.calls();
  if (operation_ != nullptr) call.desc_destroy(operation_);
  for (const cublasLtMatrixLayout_t layout : {of_weight_, of_x_, of_out_}) {
    if (layout != nullptr) call.layout_destroy(layout);
  }
}

void DenseGemm::Launch(const void* x, const void* weight, __nv_bfloat16* out,
                       cudaStream_t stream) const {
  const float one = 1;
  const float zero = 0;
  CheckBlas(blas_.calls().matmul(blas_.handle(), operation_, &one, weight, of_weight_, x, of_x_,
                                 &zero, out, of_out_, out, of_out_, &algorithm_, workspace_,
                                 kWorkspaceBytes, stream),
            "product");
}

}  // namespace moecast::kernels
