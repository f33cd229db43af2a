// Suite of dense products: every projection of every model, from one token to a prefill.
#include <algorithm>
#include <cstdio>

#include "kernels/bench/fill.h"
#include "kernels/bench/prefill_fill.h"
#include "kernels/bench/suites.h"
#include "kernels/harness/device_buffer.h"
#include "kernels/ops/dense/dense.h"

namespace moecast::kernels {
namespace {

constexpr double kPoolBytes = 512e6;  // of weight copies, several times any L2
constexpr int kMaxCopies = 16;
constexpr int32_t kComputeBoundFrom = 512;  // tokens
constexpr float kScale = 0.5F;
// Tiles and waves of blocks change often up to some hundred rows, and little from thousands on.
constexpr int32_t kTokens[] = {1,   8,   16,  32,   64,   128,  192, 256,
                               384, 512, 768, 1024, 2048, 4096, 8192};

// Operands of one projection, `copies` of the weights.
struct DenseBuffers {
  int copies;
  size_t weight_bytes;
  DeviceBuffer<unsigned char> weights;
  DeviceBuffer<unsigned char> x;
  DeviceBuffer<__nv_bfloat16> out;

  DenseBuffers(const Projection& projection, int32_t most_tokens, bool fp8, const Stream& stream)
      : copies(0),
        weight_bytes(static_cast<size_t>(projection.outputs) *
                     static_cast<size_t>(projection.inputs) * (fp8 ? 1 : 2)) {
    copies = static_cast<int>(
        std::clamp<double>(kPoolBytes / static_cast<double>(weight_bytes), 1, kMaxCopies));
    weights = DeviceBuffer<unsigned char>(weight_bytes * static_cast<size_t>(copies));
    x = DeviceBuffer<unsigned char>(static_cast<size_t>(most_tokens) *
                                    static_cast<size_t>(projection.inputs) * (fp8 ? 1 : 2));
    out = DeviceBuffer<__nv_bfloat16>(static_cast<size_t>(most_tokens) *
                                      static_cast<size_t>(projection.outputs));
    Fill(weights, fp8, 1, stream);
    Fill(x, fp8, 2, stream);
    stream.Synchronize();
  }

  static void Fill(const DeviceBuffer<unsigned char>& buffer, bool fp8, uint64_t seed,
                   const Stream& stream) {
    if (fp8)
      FillE4m3(buffer.data(), buffer.size(), seed, stream.get());
    else
      FillUniform(reinterpret_cast<__nv_bfloat16*>(buffer.data()),
                  buffer.size() / sizeof(__nv_bfloat16), kScale, seed, stream.get());
  }
  [[nodiscard]] const unsigned char* weight(int launch) const {
    return weights.data() + static_cast<size_t>(launch % copies) * weight_bytes;
  }
};

Measurement DescribeDense(const Projection& projection, int32_t tokens, bool fp8) {
  Measurement row;
  row.op = "dense";
  row.model = projection.model;
  row.regime = projection.name;
  row.rule = "-";
  row.tokens = tokens;
  row.hidden = projection.inputs;
  row.intermediate = projection.outputs;
  row.format = fp8 ? "fp8_tensor" : "bf16";
  const double element = fp8 ? 1 : 2;
  row.bytes = element * (row.hidden * row.intermediate + row.tokens * row.hidden) +
              2 * row.tokens * row.intermediate;
  row.flops = 2 * row.tokens * row.hidden * row.intermediate;
  return row;
}

void AppendProjection(const SuiteContext& context, const BlasLt& blas, const Projection& projection,
                      bool fp8, std::vector<Measurement>& rows) {
  const DenseBuffers buffers(projection, projection.most_tokens, fp8, context.bench.stream);
  const cudaStream_t stream = context.bench.stream.get();
  const SuiteContext capped = UnderPowerCap(context);
  for (const int32_t tokens : kTokens) {
    if (tokens > projection.most_tokens) continue;
    const DenseGemm gemm(
        blas,
        {.tokens = tokens, .outputs = projection.outputs, .inputs = projection.inputs, .fp8 = fp8},
        buffers.x.data(), buffers.weight(0), buffers.out.data(), context.bench.stream);
    const auto finish = [&](Measurement& row) {
      const double ring = std::min<double>(buffers.copies, row.launches) *
                          static_cast<double>(buffers.weight_bytes);
      row.warm_ratio = ring > context.environment.l2_bytes ? 0 : 1;
    };
    AppendMeasured(
        tokens < kComputeBoundFrom ? context : capped,
        [&](int r) {
          gemm.Launch(buffers.x.data(), buffers.weight(r), buffers.out.data(), stream);
        },
        finish, DescribeDense(projection, tokens, fp8), rows);
  }
}

}  // namespace

std::vector<Measurement> RunDenseSuite(const SuiteContext& given) {
  SuiteContext context = given;
  context.bench.rule = {.min_samples = 20, .max_samples = 60, .max_seconds = 0.15};  // many rows
  std::vector<Measurement> rows;
  const std::unique_ptr<BlasLt> blas = BlasLt::Open();
  if (blas == nullptr) {
    std::fprintf(stderr, "dense: skipped, libcublasLt.so.13 is not found\n");
    return rows;
  }
  for (const Projection& projection : context.projections) {
    AppendProjection(context, *blas, projection, false, rows);
    if (projection.fp8) AppendProjection(context, *blas, projection, true, rows);
  }
  return rows;
}

}  // namespace moecast::kernels
