// The suite of the weight formats: the expert products and the layer in every format. What the
// suites `experts` and `layer` measure in bf16 is not repeated; the launch of both products is
// measured in all formats.
#include "kernels/bench/suite_formats.h"

#include <string>

#include "kernels/bench/layer_bench.h"

namespace moecast::kernels {
namespace {

constexpr double kPoolShare = 0.6;  // of the card's memory, for copies of the weights
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

// The ops of one load that stands ready in `layer`; of a load with skipped ranks only the whole
// layer.
void AppendOps(const SuiteContext& context, const LayerBench& layer, const SkipRule& rule,
               bool skipped, Measurement row, std::vector<Measurement>& rows) {
  const bool bf16 = layer.weights().format() == WeightFormat::kBf16;
  const auto append = [&](const char* op, const EnqueueLaunch& enqueue, TrafficOf traffic,
                          double projections) {
    row.op = op;
    AppendMeasured(context, enqueue, FinishInFormat(context, layer, traffic, projections), row,
                   rows);
  };
  if (!skipped && !bf16 && row.regime == "routed") {
    append(
        "gate_up", [&](int r) { layer.GateUp(r); }, GateUpTraffic, kGateUpProjections);
    append(
        "down", [&](int r) { layer.Down(r); }, DownTraffic, kDownProjections);
  }
  if (!skipped)
    append(
        "experts", [&](int r) { layer.Experts(r); }, ExpertsTraffic, kAllProjections);
  if (row.regime == "routed" && !bf16)
    append(
        "layer", [&](int r) { layer.Layer(rule, r); }, LayerTraffic, kAllProjections);
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
      AppendOps(context, layer, rule.rule, kept < shape.top_k, row, rows);
    }
  }
}

// Equal totals over equally many experts, even or with one that has half of the rows.
void AppendSkewed(const SuiteContext& context, const ModelShape& model, const WeightPool& weights,
                  std::vector<Measurement>& rows) {
  constexpr int kDistinct = 8;
  for (const int32_t per_expert : {4, 16}) {
    for (const Spread spread : {Spread::kEven, Spread::kHot}) {
      ExpertShape shape = model.shape;
      shape.tokens = kDistinct * per_expert;
      LayerBench layer(shape, weights, context.bench.stream, model.router, model.biased);
      layer.PrepareGiven({.distinct = kDistinct, .rows_per_expert = per_expert, .spread = spread});
      Measurement row = DescribeIn(model, layer);
      row.regime = spread == Spread::kHot ? "hot" : "even";
      AppendOps(context, layer, {}, false, row, rows);
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

}  // namespace

std::vector<Measurement> RunFormatsSuite(const SuiteContext& given) {
  SuiteContext context = UnderPowerCap(given);
  context.bench.rule = {.min_samples = 20, .max_samples = 60, .max_seconds = 0.15};  // many rows
  std::vector<Measurement> rows;
  for (const ModelShape& model : context.models) {
    for (const WeightFormat format : kWeightFormats) {
      if (!Streams(format, model.shape)) continue;
      const WeightPool weights(model.shape, kPoolShare * context.environment.memory_bytes,
                               context.bench.stream, format);
      AppendRouted(context, model, weights, rows);
      AppendSkewed(context, model, weights, rows);
      if (format == WeightFormat::kBf16) AppendNaive(context, model, weights, rows);
    }
  }
  return rows;
}

}  // namespace moecast::kernels
