// Suite of the compute-bound expert path: permutation, products, and the layer from router to
// combine, over tokens, kept experts, skew and weight formats.
#include "kernels/bench/suite_prefill.h"

#include <stdexcept>

#include "kernels/bench/prefill_bench.h"

namespace moecast::kernels {
namespace {

constexpr int kTokens[] = {256, 512, 1024, 2048, 8192, 16384};
constexpr int kSkewTokens = 8192;
constexpr double kZipfExponents[] = {0.5, 1.0};

// The first rung is timed where it takes milliseconds: few tokens, small experts, bf16.
constexpr int kNaiveTokens = 256;
constexpr int kNaiveHidden = 2048;

// Launches of milliseconds are long enough alone, and a row of them would take seconds under the
// rule for short ones.
SuiteContext ForLongLaunches(const SuiteContext& context) {
  const StoppingRule rule{.min_samples = 10,
                          .max_samples = 30,
                          .max_iqr_ratio = 0.01,
                          .max_relative_error = 0.003,
                          .max_seconds = 0.05};
  return {.bench = {.stream = context.bench.stream,
                    .clocks = context.bench.clocks,
                    .rule = rule,
                    .power_cap = PowerCap::kIsSteadyState},
          .environment = context.environment,
          .peak = context.peak,
          .models = context.models};
}
constexpr ReplayPlan kPlan{.min_launches = 1, .period = 1, .max_periods = 8, .replay_us = 200};

struct Rows {
  const SuiteContext& context;
  std::vector<Measurement> measured;

  void Append(const PrefillBench& bench, Measurement row, const Traffic& traffic,
              const EnqueueLaunch& enqueue) {
    const ExpertShape& shape = bench.shape();
    const ExpertLoad& load = bench.load();
    row.tokens = shape.tokens;
    row.top_k = shape.top_k;
    row.experts = shape.experts;
    row.hidden = shape.hidden;
    row.intermediate = shape.intermediate;
    row.assignments = load.assignments;
    row.distinct = load.distinct;
    row.padded_rows = load.padded_rows;
    row.max_load = load.max_load;
    row.bytes = traffic.bytes;
    row.flops = traffic.flops;
    // Every launch reads all weights once more, in the same order: what L2 keeps is gone by then.
    if (bench.weight_bytes() <= context.environment.l2_bytes) row.warm_ratio = 1;
    row.format = Name(bench.format());
    Measure(context.bench, kPlan, enqueue, row);
    const Status status = CheckAgainstPeak(row, context.peak);
    if (!status.ok()) throw std::runtime_error(ToString(status.errors()));
    measured.push_back(std::move(row));
  }
};

Measurement Describe(const std::string& op, const ModelShape& model, const std::string& regime,
                     const std::string& rule) {
  Measurement row;
  row.op = op;
  row.model = model.name;
  row.regime = regime;
  row.rule = rule;
  return row;
}

void AppendProducts(const PrefillBench& bench, Measurement row, Rows& rows) {
  row.op = "prefill_gate_up";
  rows.Append(bench, row, PrefillGateUpTraffic(bench.shape(), bench.load(), bench.format()),
              [&](int) { bench.GateUp(); });
  row.op = "prefill_down";
  rows.Append(bench, row, PrefillDownTraffic(bench.shape(), bench.load(), bench.format()),
              [&](int) { bench.Down(); });
}

void AppendRouted(const ModelShape& model, PrefillBench& bench, Rows& rows) {
  for (const int32_t kept : {model.shape.top_k, model.shape.top_k / 2}) {
    const NamedRule rule = UniformRule(kept);
    bench.PrepareRouted(rule.rule);
    AppendProducts(bench, Describe("", model, "routed", rule.text), rows);
    rows.Append(bench, Describe("prefill_layer", model, "routed", rule.text),
                PrefillLayerTraffic(bench.shape(), bench.load(), bench.format()),
                [&](int) { bench.Layer(); });
    if (kept == model.shape.top_k && !IsInt4(bench.format())) {  // int4 permutes as bf16
      Measurement permute = Describe("permute", model, "routed", rule.text);
      permute.warm_ratio = 1;  // reads no weights
      rows.Append(bench, std::move(permute),
                  PermuteTraffic(bench.shape(), bench.load(), bench.format()),
                  [&](int) { bench.Permute(); });
    }
  }
}

void AppendNaive(const ModelShape& model, PrefillBench& bench, Rows& rows) {
  const NamedRule rule = UniformRule(model.shape.top_k);
  bench.PrepareRouted(rule.rule);
  rows.Append(bench, Describe("prefill_gate_up_naive", model, "routed", rule.text),
              PrefillGateUpTraffic(bench.shape(), bench.load(), bench.format()),
              [&](int) { bench.NaiveGateUp(); });
  rows.Append(bench, Describe("prefill_down_naive", model, "routed", rule.text),
              PrefillDownTraffic(bench.shape(), bench.load(), bench.format()),
              [&](int) { bench.NaiveDown(); });
}

void AppendSkewed(const ModelShape& model, PrefillBench& bench, Rows& rows) {
  for (const double exponent : kZipfExponents) {
    bench.PrepareZipf(exponent);
    AppendProducts(bench, Describe("", model, "zipf " + std::to_string(exponent).substr(0, 3), "-"),
                   rows);
  }
}

}  // namespace

std::vector<Measurement> RunPrefillSuite(const SuiteContext& context) {
  const SuiteContext long_launches = ForLongLaunches(context);
  Rows rows{.context = long_launches, .measured = {}};
  for (const ModelShape& model : context.models) {
    for (const WeightFormat format : kWeightFormats) {
      if (!Fits(format, model.shape.hidden) || !Fits(format, model.shape.intermediate)) continue;
      const PrefillWeightPool weights(model, format, context.bench.stream);
      for (const int tokens : kTokens) {
        PrefillBench bench(weights, tokens, context.bench.stream);
        AppendRouted(model, bench, rows);
        if (tokens == kSkewTokens) AppendSkewed(model, bench, rows);
        if (tokens == kNaiveTokens && format == WeightFormat::kBf16 &&
            model.shape.hidden <= kNaiveHidden)
          AppendNaive(model, bench, rows);
      }
    }
  }
  return std::move(rows.measured);
}

}  // namespace moecast::kernels
