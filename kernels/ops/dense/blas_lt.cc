#include "kernels/ops/dense/blas_lt.h"

#include <dlfcn.h>

namespace moecast::kernels {
namespace {

template <class Function>
bool Resolve(void* library, const char* name, Function& function) {
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): dlsym has no typed form.
  function = reinterpret_cast<Function>(dlsym(library, name));
  return function != nullptr;
}

bool ResolveAll(void* library, BlasLtCalls& calls) {
  return Resolve(library, "cublasLtCreate", calls.create) &&
         Resolve(library, "cublasLtDestroy", calls.destroy) &&
         Resolve(library, "cublasLtMatmul", calls.matmul) &&
         Resolve(library, "cublasLtMatmulAlgoGetHeuristic", calls.heuristic) &&
         Resolve(library, "cublasLtMatmulDescCreate", calls.desc_create) &&
         Resolve(library, "cublasLtMatmulDescDestroy", calls.desc_destroy) &&
         Resolve(library, "cublasLtMatmulDescSetAttribute", calls.desc_set) &&
         Resolve(library, "cublasLtMatrixLayoutCreate", calls.layout_create) &&
         Resolve(library, "cublasLtMatrixLayoutSetAttribute", calls.layout_set) &&
         Resolve(library, "cublasLtMatrixLayoutDestroy", calls.layout_destroy) &&
         Resolve(library, "cublasLtMatmulPreferenceCreate", calls.preference_create) &&
         Resolve(library, "cublasLtMatmulPreferenceDestroy", calls.preference_destroy) &&
         Resolve(library, "cublasLtMatmulPreferenceSetAttribute", calls.preference_set);
}

}  // namespace

std::unique_ptr<BlasLt> BlasLt::Open() {
  std::unique_ptr<BlasLt> blas(new BlasLt);
  blas->library_ = dlopen("libcublasLt.so.13", RTLD_NOW | RTLD_LOCAL);
  if (blas->library_ == nullptr || !ResolveAll(blas->library_, blas->calls_)) return nullptr;
  if (blas->calls_.create(&blas->handle_) != CUBLAS_STATUS_SUCCESS) return nullptr;
  return blas;
}

BlasLt::~BlasLt() {
  if (handle_ != nullptr) calls_.destroy(handle_);
  if (library_ != nullptr) dlclose(library_);
}

}  // namespace moecast::kernels
