// Suites of uneven loads: the expert products on slots that prefer some experts, as trained routers
// do, in both forms and at counts between those of the suites `formats` and `prefill`, whose random
// routers leave loads nearly even.
#include "kernels/bench/suite_loads.h"

#include <algorithm>
#include <string>
#include <string_view>

#include "kernels/bench/layer_bench.h"
#include "kernels/bench/prefill_rows.h"

namespace moecast::kernels {
namespace {

constexpr std::string_view kModels[] = {"OLMoE-1B-7B", "DeepSeek-V2-Lite", "Qwen3-30B-A3B",
                                        "gpt-oss-20b"};
constexpr WeightFormat kFormats[] = {WeightFormat::kBf16, WeightFormat::kFp8,
                                     WeightFormat::kInt4G32};
// The fullest expert has three to five times the mean, as in recorded and synthetic traces.
constexpr double kExponent = 0.5;
constexpr double kSteepExponent = 1.0;
constexpr double kPoolShare = 0.3;  // of the card's memory, for copies of the weights

std::string Regime(double exponent) { return "zipf " + std::to_string(exponent).substr(0, 3); }

Traffic ExpertsTraffic(const ExpertShape& shape, const ExpertLoad& load) {
  return GateUpTraffic(shape, load) + DownTraffic(shape, load);
}

// Gate-up, SwiGLU and down in one launch.
void AppendDecode(const SuiteContext& context, const ModelShape& model, WeightFormat format,
                  std::vector<Measurement>& rows) {
  constexpr double kProjections = 3;
  constexpr double kBf16Bytes = 2;
  const WeightPool weights(model.shape, kPoolShare * context.environment.memory_bytes,
                           context.bench.stream, format);
  const double elements = kProjections * model.shape.hidden * model.shape.intermediate;
  const double stored = elements * BytesPerWeight(format);
  for (const int tokens : {4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256}) {
    ExpertShape shape = model.shape;
    shape.tokens = tokens;
    LayerBench layer(shape, weights, context.bench.stream, model.router, model.biased);
    const FinishRow in_bf16 = FinishWith(context, layer, ExpertsTraffic, stored);
    const auto finish = [&](Measurement& row) {
      in_bf16(row);
      row.bytes += row.distinct * (stored - kBf16Bytes * elements);
    };
    for (const int32_t kept : {shape.top_k, shape.top_k / 2}) {
      layer.PrepareZipf(kExponent, kept);
      Measurement row = DescribeRow("experts", model.name, layer);
      row.regime = Regime(kExponent);
      row.rule = UniformRule(kept).text;
      row.format = std::string(Name(format));
      AppendMeasured(
          context, [&](int r) { layer.Experts(r); }, finish, row, rows);
    }
  }
}

// The compute-bound form, every half octave.
void AppendPrefill(const SuiteContext& context, const ModelShape& model, WeightFormat format,
                   PrefillRowList& rows) {
  const PrefillWeightPool weights(model, format, context.bench.stream);
  for (const int tokens : {256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096}) {
    PrefillBench bench(weights, tokens, context.bench.stream);
    const auto append = [&](double exponent, int32_t kept) {
      bench.PrepareZipf(exponent, kept);
      rows.AppendProducts(bench,
                          DescribePrefill("", model, Regime(exponent), UniformRule(kept).text));
    };
    append(kExponent, model.shape.top_k);
    append(kExponent, model.shape.top_k / 2);
    if (tokens == 512 || tokens == 2048) append(kSteepExponent, model.shape.top_k);
  }
}

std::vector<ModelShape> Chosen(const SuiteContext& context) {
  std::vector<ModelShape> chosen;
  for (const ModelShape& model : context.models) {
    if (std::ranges::find(kModels, model.name) != std::ranges::end(kModels))
      chosen.push_back(model);
  }
  return chosen;
}

}  // namespace

std::vector<Measurement> RunLoadsSuite(const SuiteContext& given) {
  SuiteContext context = UnderPowerCap(given);
  context.bench.rule = {.min_samples = 20, .max_samples = 60, .max_seconds = 0.15};
  std::vector<Measurement> rows;
  for (const ModelShape& model : Chosen(context)) {
    for (const WeightFormat format : kFormats) {
      if (Streams(format, model.shape)) AppendDecode(context, model, format, rows);
    }
  }
  return rows;
}

std::vector<Measurement> RunPrefillLoadsSuite(const SuiteContext& given) {
  const SuiteContext context = ForLongLaunches(given);
  PrefillRowList rows(context);
  for (const ModelShape& model : Chosen(context)) {
    for (const WeightFormat format : kFormats) {
      if (Fits(format, model.shape.hidden) && Fits(format, model.shape.intermediate))
        AppendPrefill(context, model, format, rows);
    }
  }
  return rows.Take();
}

}  // namespace moecast::kernels
