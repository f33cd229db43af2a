#include "kernels/bench/check_dense.h"

#include <cuda_fp8.h>

#include "kernels/bench/check_support.h"
#include "kernels/ops/dense/dense.h"

namespace moecast::kernels {
namespace {

constexpr double kTolerance = 3e-3;

// e4m3 codes of an operand, whose exact values become theirs.
std::vector<unsigned char> ToFp8(Operand& operand) {
  std::vector<unsigned char> codes;
  for (Eigen::Index r = 0; r < operand.exact.rows(); ++r) {
    for (Eigen::Index c = 0; c < operand.exact.cols(); ++c) {
      const __nv_fp8_e4m3 code(static_cast<float>(operand.exact(r, c)));
      codes.push_back(code.__x);
      operand.exact(r, c) = static_cast<double>(static_cast<float>(code));
    }
  }
  return codes;
}

std::vector<unsigned char> BytesOf(const Operand& operand) {
  const auto* const first = reinterpret_cast<const unsigned char*>(operand.row_major.data());
  return {first, first + operand.row_major.size() * sizeof(__nv_bfloat16)};
}

void CheckOne(const BlasLt& blas, const DenseShape& shape, RngStream& rng, const Stream& stream,
              const std::function<void(const std::string& line)>& report) {
  Operand x = Draw(rng, shape.tokens, shape.inputs, 1);
  Operand weight = Draw(rng, shape.outputs, shape.inputs, 1);
  const std::vector<unsigned char> x_bytes = shape.fp8 ? ToFp8(x) : BytesOf(x);
  const std::vector<unsigned char> weight_bytes = shape.fp8 ? ToFp8(weight) : BytesOf(weight);
  const DeviceBuffer<unsigned char> device_x{std::span<const unsigned char>(x_bytes)};
  const DeviceBuffer<unsigned char> device_weight{std::span<const unsigned char>(weight_bytes)};
  DeviceBuffer<__nv_bfloat16> out(static_cast<size_t>(shape.tokens) *
                                  static_cast<size_t>(shape.outputs));
  out.Poison();
  CUDA_CHECK(cudaDeviceSynchronize());  // the stream does not wait for the default one
  const DenseGemm gemm(blas, shape, device_x.data(), device_weight.data(), out.data(), stream);
  stream.Synchronize();
  out.Poison();
  CUDA_CHECK(cudaDeviceSynchronize());
  gemm.Launch(device_x.data(), device_weight.data(), out.data(), stream.get());
  const std::string name =
      std::string(shape.fp8 ? "fp8" : "bf16") + " T=" + std::to_string(shape.tokens) + " outputs " +
      std::to_string(shape.outputs) + " inputs " + std::to_string(shape.inputs);
  const double error = RequireClose(ToMatrix(out, shape.tokens, shape.outputs),
                                    x.exact * weight.exact.transpose(), kTolerance, name);
  report(name + ": error " + std::to_string(error));
}

}  // namespace

void CheckDense(uint64_t seed, const Stream& stream,
                const std::function<void(const std::string& line)>& report) {
  const std::unique_ptr<BlasLt> blas = BlasLt::Open();
  if (blas == nullptr) return report("skipped: libcublasLt.so.13 is not found");
  RngStream rng({.seed = seed}, "kernels/check_dense");
  for (const bool fp8 : {false, true}) {
    for (const int32_t tokens : {1, 17, 130})
      CheckOne(*blas, {.tokens = tokens, .outputs = 272, .inputs = 512, .fp8 = fp8}, rng, stream,
               report);
  }
}

}  // namespace moecast::kernels
