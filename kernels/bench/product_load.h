// The load under which a step of many tokens computes its small ops: large products, which hold the
// card at its power cap and its clock below the highest.
#pragma once

#include <memory>

#include "kernels/bench/suites.h"
#include "kernels/harness/stream.h"
#include "kernels/ops/dense/dense.h"

namespace moecast::kernels {

/// Steps of at least so many tokens are at the power cap.
inline constexpr int kLoadedTokens = 1024;

/// A product of some 2 ms in front of every replay of a row, which takes a fifth of that.
class ProductLoad {
 public:
  /// ERRORS: throws where libcublasLt.so.13 is not found.
  explicit ProductLoad(const Stream& stream);

  /// The context for rows of `tokens`: from kLoadedTokens on behind this load, which must outlive
  /// it.
  [[nodiscard]] SuiteContext Before(const SuiteContext& context, int64_t tokens) const;

  [[nodiscard]] const BlasLt& blas() const { return *blas_; }

 private:
  std::unique_ptr<BlasLt> blas_;
  DeviceBuffer<__nv_bfloat16> x_;
  DeviceBuffer<__nv_bfloat16> weight_;
  DeviceBuffer<__nv_bfloat16> out_;
  std::unique_ptr<DenseGemm> product_;
  std::unique_ptr<Graph> graph_;
};

}  // namespace moecast::kernels
