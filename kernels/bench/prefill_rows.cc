#include "kernels/bench/prefill_rows.h"

#include <stdexcept>
#include <utility>

namespace moecast::kernels {
namespace {

constexpr ReplayPlan kPlan{.min_launches = 1, .period = 1, .max_periods = 8, .replay_us = 200};

}  // namespace

// Launches of milliseconds are long enough alone, and a row of them would take seconds under the
// rule for short ones.
SuiteContext ForLongLaunches(const SuiteContext& context) {
  const StoppingRule rule{.min_samples = 10,
                          .max_samples = 30,
                          .max_iqr_ratio = 0.01,
                          .max_relative_error = 0.003,
                          .max_seconds = 0.05};
  SuiteContext loaded = UnderLoad(context);
  loaded.bench.rule = rule;
  return loaded;
}

Measurement DescribePrefill(const std::string& op, const ModelShape& model,
                            const std::string& regime, const std::string& rule) {
  Measurement row;
  row.op = op;
  row.model = model.name;
  row.regime = regime;
  row.rule = rule;
  return row;
}

void PrefillRowList::Append(const PrefillBench& bench, Measurement row, const Traffic& traffic,
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
  if (bench.weight_bytes() <= context_.environment.l2_bytes) row.warm_ratio = 1;
  row.format = Name(bench.format());
  Measure(context_.bench, kPlan, enqueue, row);
  const Status status = CheckAgainstPeak(row, context_.peak);
  if (!status.ok()) throw std::runtime_error(ToString(status.errors()));
  measured_.push_back(std::move(row));
}

void PrefillRowList::AppendProducts(const PrefillBench& bench, Measurement row) {
  row.op = "prefill_gate_up";
  Append(bench, row, PrefillGateUpTraffic(bench.shape(), bench.load(), bench.format()),
         [&](int) { bench.GateUp(); });
  row.op = "prefill_down";
  Append(bench, row, PrefillDownTraffic(bench.shape(), bench.load(), bench.format()),
         [&](int) { bench.Down(); });
}

}  // namespace moecast::kernels
