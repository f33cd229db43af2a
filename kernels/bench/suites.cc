#include "kernels/bench/suites.h"

#include <cstdio>
#include <stdexcept>
#include <string>

#include "kernels/bench/layer_bench.h"

namespace moecast::kernels {
namespace {

// A router and the activations are small: whether a step finds them in L2 is not for a row that
// repeats them to say.
constexpr double kAllWarm = 1;

}  // namespace

SuiteContext UnderPowerCap(const SuiteContext& context) {
  SuiteContext steady = context;
  steady.bench.power_cap = PowerCap::kIsSteadyState;
  return steady;
}

SuiteContext UnderLoad(const SuiteContext& context) {
  constexpr double kStepUs = 10e3;
  SuiteContext loaded = UnderPowerCap(context);
  loaded.bench.load_us = kStepUs;
  return loaded;
}

NamedRule UniformRule(int32_t k) {
  return {"uniform k=" + std::to_string(k), {.kind = SkipKind::kUniform, .k = k}};
}

std::vector<NamedRule> RulesFor(const ExpertShape& shape) {
  return {
      {"native", {}},
      UniformRule((shape.top_k + 1) / 2),
      {"ratio 0.5", {.kind = SkipKind::kRatio, .threshold = 0.5F}},
      {"top-p 0.7", {.kind = SkipKind::kTopP, .threshold = 0.7F}},
      {"aset-derived 0.7 0.5",
       {.kind = SkipKind::kAsetDerived, .threshold = 0.7F, .penalty = 0.5F}},
  };
}

void SayUnmeasured(const ModelShape& model, WeightFormat format) {
  std::fprintf(stderr,
               "  %s not in %s: its widths are no multiples of what the format stores at once\n",
               model.name.c_str(), std::string(Name(format)).c_str());
}

Measurement DescribeRow(const std::string& op, const std::string& model, const LayerBench& layer) {
  const ExpertShape& shape = layer.shape();
  Measurement row;
  row.op = op;
  row.model = model;
  row.regime = "routed";
  row.rule = "-";
  row.tokens = shape.tokens;
  row.top_k = shape.top_k;
  row.experts = shape.experts;
  row.hidden = shape.hidden;
  row.intermediate = shape.intermediate;
  return row;
}

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

void AppendMeasured(const SuiteContext& context, const EnqueueLaunch& enqueue,
                    const FinishRow& finish, Measurement row, std::vector<Measurement>& rows) {
  AppendMeasured(context, {.period = kRoutings}, enqueue, finish, std::move(row), rows);
}

void AppendMeasured(const SuiteContext& context, const ReplayPlan& plan,
                    const EnqueueLaunch& enqueue, const FinishRow& finish, Measurement row,
                    std::vector<Measurement>& rows) {
  Measure(context.bench, plan, enqueue, row);
  finish(row);
  const Status status = CheckAgainstPeak(row, context.peak);
  if (!status.ok()) throw std::runtime_error(ToString(status.errors()));
  rows.push_back(std::move(row));
}

}  // namespace moecast::kernels
