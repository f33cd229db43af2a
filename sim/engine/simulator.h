// Simulator: the event loop. The only mutator of replicas and the only scheduler of events; it has
// no globals, so N of them run on N threads. Memory is what is in the system plus the recorder's
// bounded share, never the length of the trace: one request is pulled at a time.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "sim/base/check.h"
#include "sim/base/fingerprint.h"
#include "sim/base/result.h"
#include "sim/engine/cost_model.h"
#include "sim/engine/engine_config.h"
#include "sim/engine/event_queue.h"
#include "sim/engine/replica.h"
#include "sim/engine/request_stream.h"
#include "sim/engine/run_result.h"
#include "sim/metrics/recorder.h"
#include "sim/policy/router.h"
#include "sim/replay/routing_source.h"

namespace moecast {

/// Everything a run depends on, resolved. Plain values; built by sim/run/build.cc or by a test.
struct SimulatorInputs {
  EngineConfig engine{};
  Parallelism parallelism{};
  int64_t sliding_window = 0;  // 0: no layer has one
  int64_t moe_layers = 0;
  SelectionKind selection = SelectionKind::kNative;  // of a rule applied when routing was loaded
  int64_t replicas = 1;
  Duration request_latency{};       // from a request's arrival to its queue, on the host
  int64_t kv_tokens_per_group = 0;  // capacity of one attention-data-parallel group
  std::optional<KvUse> kv_use{};    // what sequences take of it; absent: every token alike
  Router router{};
  CostModel cost{};
  RoutingSource routing{};
  RequestStream requests{};
  StopRule stop{};
  RecorderConfig recorder{};
};

class Simulator {
 public:
  explicit Simulator(SimulatorInputs inputs);

  /// Runs to the end of the stop rule. Call once. ERRORS: only the request source's (a malformed
  /// row met on the way).
  Result<RunResult> Run();
  /// The cost model, for a further run of the same scenario. REQUIRES: Run has returned; last call.
  [[nodiscard]] CostModel TakeCost() { return std::move(cost_); }

 private:
  void Handle(const StepDoneEvent& event);
  void Handle(const ArrivalEvent& event);
  void Handle(const FormBatchEvent& event);

  void IssueFirstRequests();
  void IssueNextRequest();
  bool PullRequest();
  void Submit(const Request& request);
  void Reject(RequestRecord record);
  void Wake(ReplicaId id);
  void Refresh(ReplicaId id);
  Result<RunResult> Finish();

  CostModel cost_;
  RoutingSource routing_;
  RequestStream requests_;
  Router router_;
  StopRule stop_;
  Recorder recorder_;
  std::vector<Replica> replicas_;
  std::vector<ReplicaView> views_;  // [replica], as routers see them
  std::vector<uint8_t> awake_;      // [replica], a FormBatch or StepDone of it is queued
  EventQueue queue_;
  Fingerprint fingerprint_;
  SimContext context_;
  Time now_;
  Duration request_latency_;
  Time horizon_;
  ClusterState cluster_;
  int64_t kv_tokens_used_ = 0;
  int64_t kv_tokens_total_ = 0;
  std::optional<int64_t> concurrency_;  // of a closed loop
  Request next_request_;                // pulled and not yet arrived (open loop)
  uint64_t issued_ = 0;                 // arrivals scheduled so far
  int64_t rejected_in_a_row_ = 0;
  bool source_ended_ = false;
};

}  // namespace moecast
