// The suites of the weight formats: the expert products and the layer in every format, and the
// products at token counts and loads between. What the suites `experts` and `layer` measure in bf16
// is not repeated; the launch of both products is measured in all formats.
#include "kernels/bench/suite_formats.h"

#include <initializer_list>
#include <string>

#include "kernels/bench/layer_bench.h"

namespace moecast::kernels {
namespace {

constexpr double kPoolShare = 0.6;  // of the card's memory, for copies of the weights
constexpr double kSmallPoolShare = 0.3;
constexpr double kBf16Bytes = 2;

// Projections whose weights an op reads.
constexpr double kGateUpProjections = 2;
constexpr double kDownProjections = 1;
constexpr double kAllProjections = kGateUpProjections + kDownProjections;

Traffic ExpertsTraffic(const ExpertShape& shape, const ExpertLoad& load) {
  return GateUpTraffic(shape, load) + DownTraffic(shape, load);
}

double WeightsOfExpert(const ExpertShape& shape, double projections) {
  return projections * shape.hidden * shape.intermediate;
}

// As FinishWith, with the weights at their stored size.
FinishRow FinishInFormat(const SuiteContext& context, const LayerBench& layer, TrafficOf traffic,
                         double projections) {
  const double stored = BytesPerWeight(layer.weights().format());
  const double weights = WeightsOfExpert(layer.shape(), projections);
  const FinishRow in_bf16 = FinishWith(context, layer, traffic, weights * stored);
  return [=](Measurement& row) {
    in_bf16(row);
    row.bytes += row.distinct * weights * (stored - kBf16Bytes);
  };
}

// Measures one op of the load that stands ready in `layer`.
struct OpRows {
  const SuiteContext& context;
  const LayerBench& layer;
  Measurement row;
  std::vector<Measurement>& rows;

  void Append(const char* op, const EnqueueLaunch& enqueue, TrafficOf traffic, double projections) {
    row.op = op;
    AppendMeasured(context, enqueue, FinishInFormat(context, layer, traffic, projections), row,
                   rows);
  }
  void AppendProducts() {
    Append(
        "gate_up", [&](int r) { layer.GateUp(r); }, GateUpTraffic, kGateUpProjections);
    Append(
        "down", [&](int r) { layer.Down(r); }, DownTraffic, kDownProjections);
  }
  void AppendExperts() {
    Append(
        "experts", [&](int r) { layer.Experts(r); }, ExpertsTraffic, kAllProjections);
  }
};

// The ops of a routed load; of one with skipped ranks only the whole layer.
void AppendOps(OpRows ops, const SkipRule& rule, bool skipped) {
  const bool bf16 = ops.layer.weights().format() == WeightFormat::kBf16;
  if (!skipped && !bf16) ops.AppendProducts();
  if (!skipped) ops.AppendExperts();
  if (!bf16)
    ops.Append(
        "layer", [&](int r) { ops.layer.Layer(rule, r); }, LayerTraffic, kAllProjections);
}

Measurement DescribeIn(const ModelShape& model, const LayerBench& layer) {
  Measurement row = DescribeRow("", model.name, layer);
  row.format = std::string(Name(layer.weights().format()));
  return row;
}

// Native top-k and half of it.
void AppendRouted(const SuiteContext& context, const ModelShape& model, const WeightPool& weights,
                  std::vector<Measurement>& rows) {
  for (const int tokens : {1, 2, 4, 8, 16, 32, 64, 128, 256}) {
    ExpertShape shape = model.shape;
    shape.tokens = tokens;
    LayerBench layer(shape, weights, context.bench.stream, model.router, model.biased);
    for (const int32_t kept : {shape.top_k, (shape.top_k + 1) / 2}) {
      const NamedRule rule = UniformRule(kept);
      layer.PrepareRouted(rule.rule);
      Measurement row = DescribeIn(model, layer);
      row.rule = rule.text;
      AppendOps({context, layer, row, rows}, rule.rule, kept < shape.top_k);
    }
  }
}

// Between the counts of AppendRouted and beyond its ends; of bf16 only what lies beyond.
void AppendBetween(const SuiteContext& context, const ModelShape& model, const WeightPool& weights,
                   std::vector<Measurement>& rows) {
  constexpr int kBeyond = 384;
  const bool bf16 = weights.format() == WeightFormat::kBf16;
  const auto append = [&](int tokens, int32_t kept) {
    ExpertShape shape = model.shape;
    shape.tokens = tokens;
    LayerBench layer(shape, weights, context.bench.stream, model.router, model.biased);
    const NamedRule rule = UniformRule(kept);
    layer.PrepareRouted(rule.rule);
    Measurement row = DescribeIn(model, layer);
    row.rule = rule.text;
    OpRows ops{context, layer, row, rows};
    if (!bf16) ops.AppendProducts();
    if (tokens == kBeyond) ops.AppendExperts();
  };
  if (!bf16) {
    append(1, (model.shape.top_k + 1) / 2);
    for (const int tokens : {3, 6, 12, 24, 48, 96, 192}) append(tokens, model.shape.top_k);
  }
  append(kBeyond, model.shape.top_k);
}

// Equal totals over equally many experts, even or with one that has half of the rows.
void AppendSkewed(const SuiteContext& context, const ModelShape& model, const WeightPool& weights,
                  std::initializer_list<int32_t> rows_per_expert, std::vector<Measurement>& rows) {
  constexpr int kDistinct = 8;
  for (const int32_t per_expert : rows_per_expert) {
    for (const Spread spread : {Spread::kEven, Spread::kHot}) {
      ExpertShape shape = model.shape;
      shape.tokens = kDistinct * per_expert;
      LayerBench layer(shape, weights, context.bench.stream, model.router, model.biased);
      layer.PrepareGiven({.distinct = kDistinct, .rows_per_expert = per_expert, .spread = spread});
      Measurement row = DescribeIn(model, layer);
      row.regime = spread == Spread::kHot ? "hot" : "even";
      OpRows{context, layer, row, rows}.AppendExperts();
    }
  }
}

// The first rung of the ladder, where it is bearable.
void AppendNaive(const SuiteContext& context, const ModelShape& model, const WeightPool& weights,
                 std::vector<Measurement>& rows) {
  for (const int tokens : {1, 8}) {
    ExpertShape shape = model.shape;
    shape.tokens = tokens;
    LayerBench layer(shape, weights, context.bench.stream, model.router, model.biased);
    layer.PrepareRouted({});
    Measurement row = DescribeIn(model, layer);
    row.rule = "native";
    row.op = "experts_naive";
    AppendMeasured(
        context, [&](int r) { layer.ExpertsNaive(r); },
        FinishInFormat(context, layer, ExpertsTraffic, kAllProjections), row, rows);
  }
}

// Calls `append` with copies of the weights of every model in every format that its widths allow.
template <class Append>
void ForEachPool(const SuiteContext& context, double share, const Append& append) {
  for (const ModelShape& model : context.models) {
    for (const WeightFormat format : kWeightFormats) {
      if (Streams(format, model.shape))
        append(model, WeightPool(model.shape, share * context.environment.memory_bytes,
                                 context.bench.stream, format));
      else
        SayUnmeasured(model, format);
    }
  }
}

}  // namespace

std::vector<Measurement> RunFormatsSuite(const SuiteContext& given) {
  SuiteContext context = UnderPowerCap(given);
  context.bench.rule = {.min_samples = 20, .max_samples = 60, .max_seconds = 0.15};  // many rows
  std::vector<Measurement> rows;
  ForEachPool(context, kPoolShare, [&](const ModelShape& model, const WeightPool& weights) {
    AppendRouted(context, model, weights, rows);
    AppendSkewed(context, model, weights, {4, 16}, rows);
    if (weights.format() == WeightFormat::kBf16) AppendNaive(context, model, weights, rows);
  });
  return rows;
}

std::vector<Measurement> RunFormatsBetweenSuite(const SuiteContext& given) {
  SuiteContext context = UnderPowerCap(given);
  context.bench.rule = {.min_samples = 10, .max_samples = 30, .max_seconds = 0.05};
  std::vector<Measurement> rows;
  ForEachPool(context, kSmallPoolShare, [&](const ModelShape& model, const WeightPool& weights) {
    AppendBetween(context, model, weights, rows);
    AppendSkewed(context, model, weights, {8, 32}, rows);
  });
  return rows;
}

}  // namespace moecast::kernels
