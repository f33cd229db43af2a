// Suite of what joins the ops of a model's step: the gate of a dense feed-forward block, and of
// latent attention the products that absorb, the cached past as rows, and the copy that puts rotary
// parts beside expanded keys. Each row launches what a step launches.
#include <algorithm>
#include <cstdio>

#include "kernels/bench/latent_rows.h"
#include "kernels/bench/small_rows.h"
#include "kernels/bench/suites.h"
#include "kernels/execute/glue.h"
#include "kernels/execute/latent_glue.h"
#include "kernels/ops/dense/dense.h"

namespace moecast::kernels {
namespace {

using Bf16 = __nv_bfloat16;

constexpr double kBf16 = sizeof(Bf16);
constexpr int kLatentWidth = kLatentChannels + kRotaryChannels;
/// Channels of a head's key without position, and of its value.
constexpr int kPlain = 128;
/// Weights and cached pages that launches rotate through: several times any L2.
constexpr double kPoolBytes = 256e6;

/// Widths of dense blocks and shared experts of the DeepSeek models (config.json: V2-Lite's shared
/// experts and dense layer, V3's).
constexpr int32_t kWidths[] = {2048, 2816, 10944, 18432};
/// Heads of DeepSeek-V2-Lite, and of V3 on four GPUs and on one.
constexpr int32_t kHeads[] = {16, 32, 128};
constexpr int32_t kTokens[] = {1,    4,    8,    16,   32,   48,   64,  96,  128,
                               160,  192,  256,  320,  384,  448,  512, 640, 768,
                               1024, 1536, 2048, 3072, 4096, 6144, 8192};
constexpr int32_t kDecodes[] = {1,   2,   3,   4,   6,   8,   10,  12,  14, 16, 20,
                                24,  28,  32,  36,  40,  48,  56,  64,  80, 96, 112,
                                128, 144, 160, 176, 192, 208, 224, 240, 256};
constexpr int32_t kContexts[] = {64,   128,  192,  256,  320,   384,  512,  640,
                                 768,  896,  1024, 1280, 1536,  1792, 2048, 2560,
                                 3072, 4096, 6144, 8192, 12288, 16384};

std::string HeadsName(int32_t heads) { return "MLA of " + std::to_string(heads) + " heads"; }

void AppendActivation(const SuiteContext& context, int32_t width, std::vector<Measurement>& rows) {
  const Stream& stream = context.bench.stream;
  const double most = std::ranges::max(kTokens);
  const DeviceBuffer<Bf16> gate_up = Filled(most * 2 * width, 1, 1, stream);
  const DeviceBuffer<Bf16> act(static_cast<size_t>(most) * static_cast<size_t>(width));
  for (const int32_t tokens : kTokens) {
    Measurement row =
        DescribeSmall("activation", "width " + std::to_string(width), "swiglu", tokens);
    row.hidden = width;
    row.bytes = 3 * kBf16 * tokens * width;
    const auto launch = [&](int) {
      SwiGlu(tokens, width, gate_up.data(), act.data(), stream.get());
    };
    AppendMeasured(context, launch, AllWarm, row, rows);
  }
}

/// The products of one direction, each head with a weight of its own.
struct Absorption {
  const char* op;
  int32_t inputs;
  int32_t outputs;
  bool to_latents;  // queries, whose rotary parts are then put behind
};

/// As a step has them: queries with their rotary parts, latents without.
DenseShape ShapeOf(const Absorption& product, int32_t heads, int32_t tokens) {
  const int64_t query = kPlain + kRotaryChannels;
  DenseShape shape{.tokens = tokens,
                   .outputs = product.outputs,
                   .inputs = product.inputs,
                   .batch = heads,
                   .x_product = product.to_latents ? query : product.inputs,
                   .out_product = product.to_latents ? kLatentWidth : product.outputs};
  shape.x_row = heads * shape.x_product;
  shape.out_row = heads * shape.out_product;
  return shape;
}

void AppendAbsorption(const SuiteContext& context, const BlasLt& blas, const Absorption& product,
                      int32_t heads, std::vector<Measurement>& rows) {
  const Stream& stream = context.bench.stream;
  const int64_t weights = int64_t{heads} * product.inputs * product.outputs;
  const auto copies = static_cast<int64_t>(kPoolBytes / kBf16 / static_cast<double>(weights));
  const DeviceBuffer<Bf16> weight = Filled(static_cast<double>(weights * copies), 1, 1, stream);
  const double most = std::ranges::max(kDecodes);
  const DeviceBuffer<Bf16> x = Filled(most * heads * kLatentWidth, 1, 2, stream);
  const DeviceBuffer<Bf16> out = Filled(most * heads * kLatentWidth, 1, 3, stream);
  const HeadWidths widths{.heads = heads, .plain = kPlain, .rotary = kRotaryChannels};
  for (const int32_t tokens : kDecodes) {
    const DenseGemm gemm(blas, ShapeOf(product, heads, tokens), x.data(), weight.data(), out.data(),
                         stream);
    Measurement row = DescribeSmall(product.op, HeadsName(heads), "per head", tokens);
    row.hidden = product.inputs;
    row.intermediate = heads * product.outputs;
    row.bytes = kBf16 * (static_cast<double>(weights) +
                         static_cast<double>(tokens) * heads * (product.inputs + product.outputs));
    row.flops = 2.0 * tokens * static_cast<double>(weights);
    const auto launch = [&](int r) {
      gemm.Launch(x.data(), weight.data() + r % copies * weights, out.data(), stream.get());
      if (!product.to_latents) return;
      PlaceRotary(tokens, widths, kLatentChannels, x.data(), out.data(), stream.get());
    };
    const double cold = kBf16 * static_cast<double>(weights);
    const auto finish = [cold](Measurement& done) { done.warm_ratio = 1 - cold / done.bytes; };
    AppendMeasured(context, launch, finish, row, rows);
  }
}

void AppendKeys(const SuiteContext& context, int32_t heads, std::vector<Measurement>& rows) {
  const Stream& stream = context.bench.stream;
  const double most = std::ranges::max(kContexts);
  const HeadWidths widths{.heads = heads, .plain = kPlain, .rotary = kRotaryChannels};
  const int64_t expanded = int64_t{heads} * 2 * kPlain;  // keys, values behind
  const double key_elements = heads * (kPlain + kRotaryChannels);
  const DeviceBuffer<Bf16> plain = Filled(most * static_cast<double>(expanded), 1, 1, stream);
  const DeviceBuffer<Bf16> latents = Filled(most * kLatentWidth, 1, 2, stream);
  const DeviceBuffer<Bf16> keys(static_cast<size_t>(most * key_elements));
  for (const int32_t tokens : kContexts) {
    Measurement row = DescribeSmall("mla_keys", HeadsName(heads), "assembled", tokens);
    row.hidden = key_elements + heads * kPlain + kRotaryChannels;  // written and read
    row.bytes = kBf16 * tokens * row.hidden;
    const auto launch = [&](int) {
      AssembleKeys(tokens, widths, plain.data(), expanded, {latents.data(), kLatentWidth},
                   keys.data(), stream.get());
    };
    AppendMeasured(context, launch, AllWarm, row, rows);
  }
}

/// One sequence whose chunk of 64 tokens follows a past of the rest.
void AppendPast(const SuiteContext& context, const LatentScheme& scheme,
                std::vector<Measurement>& rows) {
  const Stream& stream = context.bench.stream;
  const LatentLayout layout = LatentLayoutOf(scheme.element);
  const auto pages = static_cast<int>(kPoolBytes / layout.page_bytes);
  DeviceBuffer<uint8_t> pool(static_cast<size_t>(pages) * static_cast<size_t>(layout.page_bytes));
  pool.Zero();
  std::vector<int32_t> order;
  for (int32_t i = 0; i < pages; ++i) order.push_back(i);
  const DeviceBuffer<int32_t> table{std::span<const int32_t>(order)};
  const DeviceBuffer<Bf16> chunk = Filled(kPageTokens * kLatentWidth, 1, 1, stream);
  const DeviceBuffer<Bf16> to(static_cast<size_t>(std::ranges::max(kContexts)) * kLatentWidth);
  for (const int32_t tokens : kContexts) {
    if (tokens <= kPageTokens) continue;
    const std::vector<int32_t> starts{0, tokens, 0, kPageTokens, tokens - kPageTokens};
    const DeviceBuffer<int32_t> device_starts{std::span<const int32_t>(starts)};
    const int32_t held = tokens / kPageTokens;
    Measurement row = DescribeSmall("mla_past", scheme.name, "gathered", tokens);
    row.hidden = kLatentWidth + layout.page_bytes / kBf16 / kPageTokens;  // written and read
    row.bytes = kBf16 * tokens * row.hidden;
    const auto launch = [&](int r) {
      GatherContext({.sequences = 1,
                     .rows = tokens,
                     .key_starts = device_starts.data(),
                     .past = device_starts.data() + 4,
                     .chunk_starts = device_starts.data() + 2},
                    {.element = scheme.element,
                     .pages = pool.data(),
                     .block_table = table.data() + r % (pages / held) * held,
                     .pages_per_sequence = held},
                    {chunk.data(), kLatentWidth}, to.data(), stream.get());
    };
    // The cache is cold, the rows are warm.
    const auto finish = [](Measurement& done) { done.warm_ratio = kLatentWidth / done.hidden; };
    AppendMeasured(context, launch, finish, row, rows);
  }
}

}  // namespace

std::vector<Measurement> RunGlueSuite(const SuiteContext& given) {
  SuiteContext context = given;
  context.bench.rule = {.min_samples = 20, .max_samples = 60, .max_seconds = 0.1};  // many rows
  std::vector<Measurement> rows;
  for (const int32_t width : kWidths) AppendActivation(context, width, rows);
  for (const int32_t heads : kHeads) AppendKeys(context, heads, rows);
  for (const LatentScheme& scheme : kLatentSchemes) AppendPast(context, scheme, rows);
  const std::unique_ptr<BlasLt> blas = BlasLt::Open();
  if (blas == nullptr) {
    std::fprintf(stderr, "glue: without absorbing products, libcublasLt.so.13 is not found\n");
    return rows;
  }
  for (const int32_t heads : kHeads) {
    AppendAbsorption(context, *blas, {"absorb_query", kPlain, kLatentChannels, true}, heads, rows);
    AppendAbsorption(context, *blas, {"absorb_value", kLatentChannels, kPlain, false}, heads, rows);
  }
  return rows;
}

}  // namespace moecast::kernels
