// Suite of the small ops of a step: embedding, residual and norm, rotary embedding, sampling.
#include "kernels/bench/layer_bench.h"
#include "kernels/bench/small_rows.h"
#include "kernels/bench/suites.h"
#include "kernels/execute/glue.h"
#include "kernels/ops/norm/norm.h"
#include "kernels/ops/rope/rope.h"
#include "kernels/ops/sample/sample.h"

namespace moecast::kernels {
namespace {

using Bf16 = __nv_bfloat16;

// Rows of a table far larger than any L2, each token another.
void AppendEmbedding(const SuiteContext& context, const AttentionShape& model, int32_t tokens,
                     std::vector<Measurement>& rows) {
  constexpr int32_t kStride = 6151;  // a prime: neighbouring tokens are not neighbouring rows
  const Stream& stream = context.bench.stream;
  const double elements = static_cast<double>(tokens) * model.hidden;
  const DeviceBuffer<Bf16> table =
      Filled(static_cast<double>(model.vocabulary) * model.hidden, 1, 1, stream);
  const DeviceBuffer<Bf16> residual = Filled(elements, 1, 2, stream);
  const DeviceBuffer<Bf16> x = Filled(elements, 1, 3, stream);
  std::vector<int32_t> ids(static_cast<size_t>(kRoutings) * static_cast<size_t>(tokens));
  for (size_t i = 0; i < ids.size(); ++i)
    ids[i] = static_cast<int32_t>(static_cast<int64_t>(i) * kStride % model.vocabulary);
  const DeviceBuffer<int32_t> device_ids{std::span<const int32_t>(ids)};
  Measurement row = DescribeSmall("embed", model.model, "scattered", tokens);
  row.hidden = model.hidden;
  row.bytes = 2 * 3 * elements;
  AppendMeasured(
      context,
      [&](int r) {
        Embed(tokens, model.hidden, device_ids.data() + int64_t{r % kRoutings} * tokens,
              table.data(), residual.data(), x.data(), stream.get());
      },
      AllWarm, row, rows);
}

void AppendNorm(const SuiteContext& context, const AttentionShape& model, int32_t tokens,
                std::vector<Measurement>& rows) {
  const Stream& stream = context.bench.stream;
  const double elements = static_cast<double>(tokens) * model.hidden;
  const DeviceBuffer<Bf16> x = Filled(elements, 1e-3F, 1, stream);
  const DeviceBuffer<Bf16> residual = Filled(elements, 1, 2, stream);
  const DeviceBuffer<Bf16> weight = Filled(model.hidden, 1, 3, stream);
  const DeviceBuffer<Bf16> out = Filled(elements, 1, 4, stream);
  Measurement row = DescribeSmall("norm", model.model, "residual", tokens);
  row.hidden = model.hidden;
  row.bytes = 2 * (4 * elements + model.hidden);
  row.flops = 6 * elements;
  AppendMeasured(
      context,
      [&](int) {
        AddRmsNorm({.tokens = tokens, .hidden = model.hidden}, x.data(), weight.data(),
                   residual.data(), out.data(), stream.get());
      },
      AllWarm, row, rows);
}

void AppendRope(const SuiteContext& context, const AttentionShape& model, int32_t tokens,
                std::vector<Measurement>& rows) {
  constexpr int32_t kPositions = 4096;
  const Stream& stream = context.bench.stream;
  RopeShape shape = model.rope;
  shape.tokens = tokens;
  const double heads = shape.query_heads + shape.key_heads;
  const DeviceBuffer<Bf16> query =
      Filled(static_cast<double>(tokens) * shape.query_heads * shape.head, 1, 1, stream);
  const DeviceBuffer<Bf16> key =
      Filled(static_cast<double>(tokens) * shape.key_heads * shape.head, 1, 2, stream);
  const std::vector<float> table = RopeTable(InverseFrequencies(1e4, shape.rotary), 1, kPositions);
  const DeviceBuffer<float> device_table{std::span<const float>(table)};
  std::vector<int32_t> positions;
  positions.reserve(static_cast<size_t>(tokens));
  for (int32_t t = 0; t < tokens; ++t) positions.push_back(t % kPositions);
  const DeviceBuffer<int32_t> device_positions{std::span<const int32_t>(positions)};
  Measurement row = DescribeSmall("rope", model.model,
                                  shape.style == RopeStyle::kNeox ? "neox" : "interleaved", tokens);
  row.hidden = heads * shape.head;
  row.bytes = tokens * (4.0 * heads * shape.rotary + 4.0 * shape.rotary + 4.0);
  row.flops = 3.0 * tokens * heads * shape.rotary;
  AppendMeasured(
      context,
      [&](int) {
        Rope(shape, device_positions.data(), device_table.data(), query.data(), key.data(),
             stream.get());
      },
      AllWarm, row, rows);
}

void AppendSample(const SuiteContext& context, const AttentionShape& model, int32_t batch,
                  std::vector<Measurement>& rows) {
  const Stream& stream = context.bench.stream;
  const double elements = static_cast<double>(batch) * model.vocabulary;
  const DeviceBuffer<Bf16> logits = Filled(elements, 8, 1, stream);
  const DeviceBuffer<int32_t> tokens(static_cast<size_t>(batch));
  struct Named {
    const char* text = "";
    SampleRule rule = {};
  };
  for (const Named& named :
       {Named{"greedy", {}},
        Named{"temperature 0.7 top-k 50 top-p 0.9",
              {.temperature = 0.7F, .top_k = 50, .top_p = 0.9F, .uniform = 0.5F}}}) {
    const std::vector<SampleRule> rules(static_cast<size_t>(batch), named.rule);
    const DeviceBuffer<SampleRule> device_rules{std::span<const SampleRule>(rules)};
    Measurement row = DescribeSmall("sample", model.model, named.text, batch);
    row.hidden = model.vocabulary;
    row.bytes = 2 * elements;
    AppendMeasured(
        context,
        [&](int) {
          Sample(batch, model.vocabulary, logits.data(), device_rules.data(), tokens.data(),
                 stream.get());
        },
        AllWarm, row, rows);
  }
}

}  // namespace

std::vector<Measurement> RunSmallSuite(const SuiteContext& given) {
  SuiteContext context = given;
  context.bench.rule = {.min_samples = 20, .max_samples = 60, .max_seconds = 0.1};  // many rows
  std::vector<Measurement> rows;
  for (const AttentionShape& model : context.attention) {
    for (const int32_t tokens : {1,   2,   4,    8,    12,   16,   24,   32,   48,   64,   80,
                                 96,  112, 128,  160,  192,  224,  256,  320,  384,  448,  512,
                                 640, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192, 16384}) {
      AppendNorm(context, model, tokens, rows);
      AppendRope(context, model, tokens, rows);
      AppendEmbedding(context, model, tokens, rows);
    }
    for (const int32_t batch :
         {1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 132, 136, 192, 256, 264, 384, 512})
      AppendSample(context, model, batch, rows);
  }
  return rows;
}

}  // namespace moecast::kernels
