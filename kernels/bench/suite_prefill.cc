// Suites of the compute-bound expert path: permutation, products, and the layer from router to
// combine, over tokens, kept experts, skew and weight formats; and at token counts between.
#include "kernels/bench/suite_prefill.h"

#include "kernels/bench/prefill_rows.h"

namespace moecast::kernels {
namespace {

constexpr int kTokens[] = {256, 512, 1024, 2048, 8192, 16384};
constexpr int kTokensBetween[] = {384, 768, 1536, 4096};
constexpr int kSkewTokens = 8192;
constexpr double kZipfExponent = 0.5;
// From here on a row takes tens of milliseconds, and fewer kept experts say what fewer tokens say.
constexpr int kManyTokens = 16384;

// The first rung is timed where it takes milliseconds: few tokens, small experts, bf16.
constexpr int kNaiveTokens = 256;
constexpr int kNaiveHidden = 2048;

// Both products and the layer.
void AppendKept(const ModelShape& model, int32_t kept, PrefillBench& bench, PrefillRowList& rows) {
  const NamedRule rule = UniformRule(kept);
  bench.PrepareRouted(rule.rule);
  rows.AppendProducts(bench, DescribePrefill("", model, "routed", rule.text));
  rows.Append(bench, DescribePrefill("prefill_layer", model, "routed", rule.text),
              PrefillLayerTraffic(bench.shape(), bench.load(), bench.format()),
              [&](int) { bench.Layer(); });
}

void AppendRouted(const ModelShape& model, PrefillBench& bench, PrefillRowList& rows) {
  for (const int32_t kept : {model.shape.top_k, model.shape.top_k / 2}) {
    if (bench.shape().tokens >= kManyTokens && kept != model.shape.top_k) continue;
    AppendKept(model, kept, bench, rows);
    if (kept == model.shape.top_k && !IsInt4(bench.format())) {  // int4 permutes as bf16
      Measurement permute = DescribePrefill("permute", model, "routed", UniformRule(kept).text);
      permute.warm_ratio = 1;  // reads no weights
      rows.Append(bench, std::move(permute),
                  PermuteTraffic(bench.shape(), bench.load(), bench.format()),
                  [&](int) { bench.Permute(); });
    }
  }
}

void AppendNaive(const ModelShape& model, PrefillBench& bench, PrefillRowList& rows) {
  const NamedRule rule = UniformRule(model.shape.top_k);
  bench.PrepareRouted(rule.rule);
  rows.Append(bench, DescribePrefill("prefill_gate_up_naive", model, "routed", rule.text),
              PrefillGateUpTraffic(bench.shape(), bench.load(), bench.format()),
              [&](int) { bench.NaiveGateUp(); });
  rows.Append(bench, DescribePrefill("prefill_down_naive", model, "routed", rule.text),
              PrefillDownTraffic(bench.shape(), bench.load(), bench.format()),
              [&](int) { bench.NaiveDown(); });
}

void AppendSkewed(const ModelShape& model, PrefillBench& bench, PrefillRowList& rows) {
  bench.PrepareZipf(kZipfExponent, model.shape.top_k);
  const std::string regime = "zipf " + std::to_string(kZipfExponent).substr(0, 3);
  rows.AppendProducts(bench, DescribePrefill("", model, regime, "-"));
}

// Calls `append` with weights of every model in every format that its widths allow.
template <class Append>
void ForEachPool(const SuiteContext& context, const Append& append) {
  for (const ModelShape& model : context.models) {
    for (const WeightFormat format : kWeightFormats) {
      if (Fits(format, model.shape.hidden) && Fits(format, model.shape.intermediate))
        append(model, PrefillWeightPool(model, format, context.bench.stream));
      else
        SayUnmeasured(model, format);
    }
  }
}

}  // namespace

std::vector<Measurement> RunPrefillSuite(const SuiteContext& context) {
  const SuiteContext long_launches = ForLongLaunches(context);
  PrefillRowList rows(long_launches);
  ForEachPool(context, [&](const ModelShape& model, const PrefillWeightPool& weights) {
    for (const int tokens : kTokens) {
      PrefillBench bench(weights, tokens, context.bench.stream);
      AppendRouted(model, bench, rows);
      if (tokens == kSkewTokens) AppendSkewed(model, bench, rows);
      if (tokens == kNaiveTokens && weights.format() == WeightFormat::kBf16 &&
          model.shape.hidden <= kNaiveHidden)
        AppendNaive(model, bench, rows);
    }
  });
  return rows.Take();
}

std::vector<Measurement> RunPrefillBetweenSuite(const SuiteContext& context) {
  const SuiteContext long_launches = ForLongLaunches(context);
  PrefillRowList rows(long_launches);
  ForEachPool(context, [&](const ModelShape& model, const PrefillWeightPool& weights) {
    for (const int tokens : kTokensBetween) {
      PrefillBench bench(weights, tokens, context.bench.stream);
      AppendKept(model, model.shape.top_k, bench, rows);
    }
  });
  return rows.Take();
}

}  // namespace moecast::kernels
