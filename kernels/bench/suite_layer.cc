// Suites of the expert path: routing, the products, and the layer from router to combine.
#include <algorithm>

#include "kernels/bench/layer_bench.h"
#include "kernels/bench/suites.h"

namespace moecast::kernels {
namespace {

constexpr double kPoolShare = 0.6;  // of the card's memory, for copies of the weights
constexpr double kBf16Bytes = 2;
// Given loads double D up to E for every rows per expert; larger expert counts would add minutes.
constexpr int kMostGivenExperts = 128;
// A router and the activations are small: whether a step finds them in L2 is not for a row that
// repeats them to say.
constexpr double kAllWarm = 1;

bool Fits(const ExpertShape& shape) { return shape.tokens * shape.top_k <= kMaxSlots; }

double ExpertBytes(const ExpertShape& shape) {
  return 3 * kBf16Bytes * shape.hidden * shape.intermediate;
}

using TrafficOf = Traffic (*)(const ExpertShape& shape, const ExpertLoad& load);

// Load and traffic of the launches that were measured; `cold_bytes` of weights per expert, 0 for an
// op whose inputs are all warm.
FinishRow FinishWith(const SuiteContext& context, const LayerBench& layer, TrafficOf traffic,
                     double cold_bytes) {
  return [&context, &layer, traffic, cold_bytes](Measurement& row) {
    const int launches = static_cast<int>(row.launches);
    const ExpertLoad load = layer.LoadOfLaunches(launches);
    row.assignments = load.assignments;
    row.distinct = load.distinct;
    row.padded_rows = load.padded_rows;
    row.max_load = load.max_load;
    const Traffic total = traffic(layer.shape(), load);
    row.bytes = total.bytes;
    row.flops = total.flops;
    row.warm_ratio = cold_bytes > 0
                         ? layer.WarmRatioOf(launches, cold_bytes, context.environment.l2_bytes)
                         : kAllWarm;
  };
}

Traffic RouteOnly(const ExpertShape& shape, const ExpertLoad&) { return RouteTraffic(shape); }

void AppendProducts(const SuiteContext& context, const LayerBench& layer, Measurement row,
                    std::vector<Measurement>& rows) {
  const double expert_bytes = ExpertBytes(layer.shape());
  row.op = "gate_up";
  AppendMeasured(
      context, [&](int r) { layer.GateUp(r); },
      FinishWith(context, layer, GateUpTraffic, expert_bytes * 2 / 3), row, rows);
  row.op = "down";
  AppendMeasured(
      context, [&](int r) { layer.Down(r); },
      FinishWith(context, layer, DownTraffic, expert_bytes / 3), row, rows);
}

void AppendRoutedProducts(const SuiteContext& context, const ModelShape& model,
                          const WeightPool& weights, std::vector<Measurement>& rows) {
  for (const int tokens : {1, 2, 4, 8, 16, 32, 64, 128, 256}) {
    ExpertShape shape = model.shape;
    shape.tokens = tokens;
    LayerBench layer(shape, weights, context.bench.stream);
    for (int32_t kept = shape.top_k; kept >= 1; kept /= 2) {
      const NamedRule rule = UniformRule(kept);
      layer.PrepareRouted(rule.rule);
      Measurement row = DescribeRow("", model.name, layer);
      row.rule = rule.text;
      AppendProducts(context, layer, row, rows);
    }
  }
}

// Loads that routing does not produce: any D with any rows per expert, even or with one hot expert.
void AppendGivenProducts(const SuiteContext& context, const ModelShape& model,
                         const WeightPool& weights, std::vector<Measurement>& rows) {
  for (int32_t distinct = 1; distinct <= model.shape.experts; distinct *= 2) {
    for (const int32_t per_expert : {1, 2, 4, 8, 16, 32, 64}) {
      for (const Spread spread : {Spread::kEven, Spread::kHot}) {
        const int32_t total = distinct * per_expert;
        const bool hot = spread == Spread::kHot;
        if (hot && (distinct == 1 || per_expert == 1 || total / 2 <= per_expert)) continue;
        ExpertShape shape = model.shape;
        const int32_t spread_out = (total + shape.top_k - 1) / shape.top_k;
        shape.tokens = std::max({spread_out, per_expert, hot ? total / 2 : 1});
        if (!Fits(shape)) continue;
        LayerBench layer(shape, weights, context.bench.stream);
        layer.PrepareGiven({.distinct = distinct, .rows_per_expert = per_expert, .spread = spread});
        Measurement row = DescribeRow("", model.name, layer);
        row.regime = hot ? "hot" : "even";
        AppendProducts(context, layer, row, rows);
      }
    }
  }
}

}  // namespace

std::vector<Measurement> RunRouteSuite(const SuiteContext& context) {
  std::vector<Measurement> rows;
  for (const ModelShape& model : context.models) {
    const WeightPool weights(model.shape, 0, context.bench.stream);
    for (const int tokens : {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024}) {
      ExpertShape shape = model.shape;
      shape.tokens = tokens;
      if (!Fits(shape)) continue;
      LayerBench layer(shape, weights, context.bench.stream);
      for (const NamedRule& rule : RulesFor(shape)) {
        layer.PrepareRouted(rule.rule);
        Measurement row = DescribeRow("route", model.name, layer);
        row.rule = rule.text;
        AppendMeasured(
            context, [&](int r) { layer.Route(rule.rule, r); },
            FinishWith(context, layer, RouteOnly, 0), row, rows);
      }
      layer.PrepareRouted({});
      AppendMeasured(
          context, [&](int r) { layer.Combine(r); }, FinishWith(context, layer, CombineTraffic, 0),
          DescribeRow("combine", model.name, layer), rows);
    }
  }
  return rows;
}

std::vector<Measurement> RunExpertsSuite(const SuiteContext& context) {
  std::vector<Measurement> rows;
  for (const ModelShape& model : context.models) {
    const WeightPool weights(model.shape, kPoolShare * context.environment.memory_bytes,
                             context.bench.stream);
    AppendRoutedProducts(context, model, weights, rows);
    if (model.shape.experts <= kMostGivenExperts)
      AppendGivenProducts(context, model, weights, rows);
  }
  return rows;
}

std::vector<Measurement> RunLayerSuite(const SuiteContext& context) {
  std::vector<Measurement> rows;
  for (const ModelShape& model : context.models) {
    const WeightPool weights(model.shape, kPoolShare * context.environment.memory_bytes,
                             context.bench.stream);
    for (const int tokens : {1, 2, 4, 8, 16, 32, 64, 128, 256}) {
      ExpertShape shape = model.shape;
      shape.tokens = tokens;
      LayerBench layer(shape, weights, context.bench.stream);
      for (const NamedRule& rule : RulesFor(shape)) {
        layer.PrepareRouted(rule.rule);
        Measurement row = DescribeRow("layer", model.name, layer);
        row.rule = rule.text;
        AppendMeasured(
            context, [&](int r) { layer.Layer(rule.rule, r); },
            FinishWith(context, layer, LayerTraffic, ExpertBytes(shape)), row, rows);
      }
    }
  }
  return rows;
}

}  // namespace moecast::kernels
