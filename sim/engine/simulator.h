// Simulator: the event loop. The only mutator of replicas and the only scheduler of events; it has
// no globals, so N of them run on N threads.
#pragma once

#include <memory>
#include <vector>

#include "sim/base/result.h"
#include "sim/cost/step_cost.h"
#include "sim/engine/engine_config.h"
#include "sim/engine/run_result.h"
#include "sim/metrics/recorder.h"
#include "sim/policy/router.h"
#include "sim/replay/routing_source.h"
#include "traces/request_source.h"

namespace moecast {

/// Everything a run depends on, resolved. Plain values; built by sim/run/build.cc or by a test.
struct SimulatorInputs {
  EngineConfig engine;
  Parallelism parallelism;
  int64_t sliding_window = 0;      // 0: no layer has one
  int64_t moe_layers = 0;
  int64_t replicas = 1;
  int64_t kv_tokens_per_group = 0; // capacity of one attention-data-parallel group
  Router router;
  StepCost cost;                   // copied per replica
  RoutingSource routing;
  RequestSource requests;
  StopRule stop;
  RecorderConfig recorder;
};

class Simulator {
 public:
  explicit Simulator(SimulatorInputs inputs);
  Simulator(Simulator&&) noexcept;
  ~Simulator();

  /// Runs to the end of the stop rule. Call once. ERRORS: only the request source's (a malformed row
  /// met on the way).
  Result<RunResult> Run();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace moecast
