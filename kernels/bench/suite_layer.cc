// Suites of the expert path in bf16: the products alone, and the layer from router to combine.
#include <algorithm>

#include "kernels/bench/layer_bench.h"
#include "kernels/bench/suites.h"

namespace moecast::kernels {
namespace {

constexpr double kPoolShare = 0.6;  // of the card's memory, for copies of the weights
constexpr double kBf16Bytes = 2;
// Given loads double D up to E for every rows per expert; larger expert counts would add minutes.
constexpr int kMostGivenExperts = 128;

double ExpertBytes(const ExpertShape& shape) {
  return 3 * kBf16Bytes * shape.hidden * shape.intermediate;
}

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
    LayerBench layer(shape, weights, context.bench.stream, model.router, model.biased);
    for (const int32_t kept : {shape.top_k, (shape.top_k + 1) / 2}) {
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
    for (const int32_t per_expert : {1, 8, 64}) {
      for (const Spread spread : {Spread::kEven, Spread::kHot}) {
        const int32_t total = distinct * per_expert;
        const bool hot = spread == Spread::kHot;
        if (hot && (distinct == 1 || per_expert == 1 || total / 2 <= per_expert)) continue;
        ExpertShape shape = model.shape;
        const int32_t spread_out = (total + shape.top_k - 1) / shape.top_k;
        shape.tokens = std::max({spread_out, per_expert, hot ? total / 2 : 1});
        LayerBench layer(shape, weights, context.bench.stream, model.router, model.biased);
        layer.PrepareGiven({.distinct = distinct, .rows_per_expert = per_expert, .spread = spread});
        Measurement row = DescribeRow("", model.name, layer);
        row.regime = hot ? "hot" : "even";
        AppendProducts(context, layer, row, rows);
      }
    }
  }
}

// Native and half of the ranks always; what a threshold keeps depends on the scores and little on
// the batch.
std::vector<NamedRule> LayerRules(const ExpertShape& shape) {
  std::vector<NamedRule> rules = RulesFor(shape);
  if (shape.tokens != 1 && shape.tokens != 16 && shape.tokens != 128) rules.resize(2);
  return rules;
}

}  // namespace

std::vector<Measurement> RunExpertsSuite(const SuiteContext& given) {
  const SuiteContext context = UnderPowerCap(given);
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

std::vector<Measurement> RunLayerSuite(const SuiteContext& given) {
  const SuiteContext context = UnderPowerCap(given);
  std::vector<Measurement> rows;
  for (const ModelShape& model : context.models) {
    const WeightPool weights(model.shape, kPoolShare * context.environment.memory_bytes,
                             context.bench.stream);
    for (const int tokens : {1, 2, 4, 8, 16, 32, 64, 128, 256}) {
      ExpertShape shape = model.shape;
      shape.tokens = tokens;
      LayerBench layer(shape, weights, context.bench.stream, model.router, model.biased);
      for (const NamedRule& rule : LayerRules(shape)) {
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
