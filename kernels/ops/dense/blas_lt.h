// BlasLt: NVIDIA's cuBLASLt, opened by name at run time. It is half a gigabyte and only dense
// products need it, so the program links and runs where it is absent.
#pragma once

#include <cublasLt.h>

#include <memory>

namespace moecast::kernels {

/// The entry points in use, as cublasLt.h declares them. [cuBLAS 13.0, "Using the cuBLASLt API"]
struct BlasLtCalls {
  decltype(&cublasLtCreate) create = nullptr;
  decltype(&cublasLtDestroy) destroy = nullptr;
  decltype(&cublasLtMatmul) matmul = nullptr;
  decltype(&cublasLtMatmulAlgoGetHeuristic) heuristic = nullptr;
  decltype(&cublasLtMatmulDescCreate) desc_create = nullptr;
  decltype(&cublasLtMatmulDescDestroy) desc_destroy = nullptr;
  decltype(&cublasLtMatmulDescSetAttribute) desc_set = nullptr;
  decltype(&cublasLtMatrixLayoutCreate) layout_create = nullptr;
  decltype(&cublasLtMatrixLayoutSetAttribute) layout_set = nullptr;
  decltype(&cublasLtMatrixLayoutDestroy) layout_destroy = nullptr;
  decltype(&cublasLtMatmulPreferenceCreate) preference_create = nullptr;
  decltype(&cublasLtMatmulPreferenceDestroy) preference_destroy = nullptr;
  decltype(&cublasLtMatmulPreferenceSetAttribute) preference_set = nullptr;
};

class BlasLt {
 public:
  /// RETURNS: nullptr where the library is not found or lacks a call.
  static std::unique_ptr<BlasLt> Open();
  ~BlasLt();
  // Owns a library and a handle.
  BlasLt(const BlasLt&) = delete;
  BlasLt& operator=(const BlasLt&) = delete;

  [[nodiscard]] const BlasLtCalls& calls() const { return calls_; }
  [[nodiscard]] cublasLtHandle_t handle() const { return handle_; }

 private:
  BlasLt() = default;

  void* library_ = nullptr;
  BlasLtCalls calls_;
  cublasLtHandle_t handle_ = nullptr;
};

}  // namespace moecast::kernels
