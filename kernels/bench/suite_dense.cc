// Suites of dense products: every projection of every model, from one token to a prefill; and the
// fp8 products at the counts between.
#include <algorithm>
#include <iterator>
#include <span>
#include <stdexcept>
#include <string_view>

#include "kernels/bench/fill.h"
#include "kernels/bench/prefill_fill.h"
#include "kernels/bench/suites.h"
#include "kernels/harness/device_buffer.h"
#include "kernels/ops/dense/dense.h"

namespace moecast::kernels {
namespace {

constexpr double kPoolBytes = 512e6;  // of weight copies, several times any L2
constexpr int kMaxCopies = 256;
constexpr double kCachesBetweenUses = 2;    // L2 sizes that other launches move in between
constexpr int32_t kComputeBoundFrom = 512;  // tokens
constexpr float kScale = 0.5F;
// A product takes a step longer with every tile of rows begun, so counts lie between multiples of
// its largest tile (256) as often as on them: every 64 rows up to 1088. From thousands on a step is
// small beside the whole.
constexpr int32_t kTokens[] = {1,    2,    4,    8,    16,   24,   32,   48,   64,
                               96,   128,  160,  192,  224,  256,  320,  384,  448,
                               512,  576,  640,  704,  768,  832,  896,  960,  1024,
                               1088, 1280, 1472, 1664, 1856, 2048, 2880, 4096, 8192};
// Of fp8 products and of models that no scenario of scenarios/validation executes.
constexpr int32_t kFewTokens[] = {1,   8,   16,  32,   64,   128,  192, 256,
                                  320, 512, 704, 1024, 2048, 4096, 8192};
constexpr std::string_view kExecutedModels[] = {"OLMoE-1B-7B", "DeepSeek-V2-Lite", "Qwen3-30B-A3B",
                                                "gpt-oss-120b"};

/// What `dense` leaves out of fp8 products.
std::vector<int32_t> TokensBetween() {
  std::vector<int32_t> between;
  std::ranges::set_difference(kTokens, kFewTokens, std::back_inserter(between));
  return between;
}

std::span<const int32_t> TokensOf(const Projection& projection, bool fp8) {
  const bool executed =
      std::ranges::find(kExecutedModels, projection.model) != std::ranges::end(kExecutedModels);
  if (executed && !fp8) return kTokens;
  return kFewTokens;
}

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
  [[nodiscard]] const unsigned char* weight(int copy) const {
    return weights.data() + static_cast<size_t>(copy) * weight_bytes;
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

// Launches that find their weights outside the L2: as many copies as move it twice over with what
// each reads and writes.
int CopiesBetweenUses(const SuiteContext& context, const DenseBuffers& buffers,
                      const Measurement& row) {
  const double launches = kCachesBetweenUses * context.environment.l2_bytes / row.bytes + 1;
  return std::min(std::max(2, static_cast<int>(launches)), buffers.copies);
}

void AppendProjection(const SuiteContext& context, const BlasLt& blas, const Projection& projection,
                      bool fp8, std::span<const int32_t> counts, std::vector<Measurement>& rows) {
  const DenseBuffers buffers(projection, projection.most_tokens, fp8, context.bench.stream);
  const cudaStream_t stream = context.bench.stream.get();
  const SuiteContext loaded = UnderLoad(context);
  for (const int32_t tokens : counts) {
    if (tokens > projection.most_tokens) continue;
    Measurement row = DescribeDense(projection, tokens, fp8);
    const int copies = CopiesBetweenUses(context, buffers, row);
    const auto weight_bytes = static_cast<double>(buffers.weight_bytes);
    row.warm_ratio = WarmRatio({.weight_bytes = weight_bytes,
                                .activation_bytes = row.bytes - weight_bytes,
                                .copies = copies},
                               context.environment.l2_bytes);
    const DenseGemm gemm(
        blas,
        {.tokens = tokens, .outputs = projection.outputs, .inputs = projection.inputs, .fp8 = fp8},
        buffers.x.data(), buffers.weight(0), buffers.out.data(), context.bench.stream);
    AppendMeasured(
        tokens < kComputeBoundFrom ? context : loaded,
        {.min_launches = std::max(4, copies), .period = std::max(16, copies)},
        [&](int r) {
          gemm.Launch(buffers.x.data(), buffers.weight(r % copies), buffers.out.data(), stream);
        },
        [](Measurement&) {}, row, rows);
  }
}

SuiteContext ForManyRows(const SuiteContext& given) {
  SuiteContext context = given;
  context.bench.rule = {.min_samples = 20, .max_samples = 60, .max_seconds = 0.15};
  return context;
}

std::unique_ptr<BlasLt> OpenBlas() {
  std::unique_ptr<BlasLt> blas = BlasLt::Open();
  if (blas == nullptr) throw std::runtime_error("libcublasLt.so.13 is not found");
  return blas;
}

}  // namespace

std::vector<Measurement> RunDenseSuite(const SuiteContext& given) {
  const SuiteContext context = ForManyRows(given);
  const std::unique_ptr<BlasLt> blas = OpenBlas();
  std::vector<Measurement> rows;
  for (const Projection& projection : context.projections) {
    AppendProjection(context, *blas, projection, false, TokensOf(projection, false), rows);
    if (projection.fp8)
      AppendProjection(context, *blas, projection, true, TokensOf(projection, true), rows);
  }
  return rows;
}

std::vector<Measurement> RunDenseBetweenSuite(const SuiteContext& given) {
  const SuiteContext context = ForManyRows(given);
  const std::unique_ptr<BlasLt> blas = OpenBlas();
  const std::vector<int32_t> between = TokensBetween();
  std::vector<Measurement> rows;
  for (const Projection& projection : context.projections) {
    if (projection.fp8) AppendProjection(context, *blas, projection, true, between, rows);
  }
  return rows;
}

}  // namespace moecast::kernels
