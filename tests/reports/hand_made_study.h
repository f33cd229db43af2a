// Studies with results written down by hand, so that reports can be checked number by number.
#pragma once

#include <initializer_list>

#include "sim/run/run_study.h"
#include "tests/sim/run/tiny_study.h"

namespace moecast::test {

/// One run that served `tokens_per_s`; latencies are 1 ms times the field's place in the report.
inline RunResult HandMadeRun(double tokens_per_s) {
  RunResult run;
  Summary& s = run.summary;
  s.window = Seconds(10);
  s.arrived = s.finished = s.measured = 4;
  s.measured_input_tokens = 100;
  s.measured_output_tokens = 40;
  s.request_throughput = tokens_per_s / 10;
  s.output_throughput = tokens_per_s;
  s.total_throughput = 3 * tokens_per_s;
  s.ttft = {.mean = 1e-3, .median = 2e-3, .std = 0, .p90 = 0, .p95 = 0, .p99 = 3e-3, .count = 4};
  s.tpot = {.mean = 4e-3, .median = 5e-3, .std = 0, .p90 = 0, .p95 = 0, .p99 = 6e-3, .count = 4};
  s.itl = s.tpot;
  s.e2e = s.tpot;
  s.by_label[static_cast<size_t>(Label::kAnalytic)] = Seconds(2);
  run.fingerprint = 1;
  run.expert_totals = {5, 0, 1, 0, 0, 0, 0, 2};
  return run;
}

/// TinyStudy with one hand-made run per given throughput and case.
inline StudyResult HandMadeResult(Study& study,
                                  std::initializer_list<std::initializer_list<double>> cases) {
  StudyResult result;
  size_t i = 0;
  for (const auto& throughputs : cases) {
    const StudyCase& c = study.cases[i];
    study.cases[i].scenario.replications = static_cast<int64_t>(throughputs.size());
    CaseResult cell{.variant = c.variant,
                    .load = c.load,
                    .memory = {},
                    .selection = {.mean_kept = 2, .native_top_k = 2, .kept_gate_mass = 1},
                    .replications = {}};
    for (const double throughput : throughputs) {
      cell.replications.push_back(HandMadeRun(throughput));
    }
    result.cases.push_back(std::move(cell));
    ++i;
  }
  return result;
}

}  // namespace moecast::test
