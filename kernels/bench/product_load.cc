#include "kernels/bench/product_load.h"

#include <stdexcept>

#include "kernels/bench/small_rows.h"

namespace moecast::kernels {
namespace {

constexpr int32_t kSide = 8192;  // of the product's three dimensions: 1.1e12 operations

}  // namespace

ProductLoad::ProductLoad(const Stream& stream)
    : blas_(BlasLt::Open()),
      x_(Filled(double{kSide} * kSide, 1, 1, stream)),
      weight_(Filled(double{kSide} * kSide, 1, 2, stream)),
      out_(size_t{kSide} * kSide) {
  if (blas_ == nullptr) throw std::runtime_error("libcublasLt.so.13 is not found");
  product_ = std::make_unique<DenseGemm>(
      *blas_, DenseShape{.tokens = kSide, .outputs = kSide, .inputs = kSide}, x_.data(),
      weight_.data(), out_.data(), stream);
  graph_ = std::make_unique<Graph>(
      stream, [&] { product_->Launch(x_.data(), weight_.data(), out_.data(), stream.get()); });
}

SuiteContext ProductLoad::Before(const SuiteContext& context, int64_t tokens) const {
  if (tokens < kLoadedTokens) return context;
  SuiteContext loaded = UnderPowerCap(context);
  loaded.bench.load = graph_.get();
  loaded.bench.rule.min_samples = 10;  // each takes a product's time besides
  return loaded;
}

}  // namespace moecast::kernels
