// Replica: one serving engine on its GPUs. Its attention-data-parallel groups schedule on their own
// and step in lockstep: a group without work rides along as padding, and the step takes as long as
// the whole batch. At most one step is in flight.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "sim/engine/cost_model.h"
#include "sim/engine/engine_config.h"
#include "sim/engine/scheduler.h"
#include "sim/engine/sequence.h"
#include "sim/metrics/recorder.h"
#include "sim/model/parallelism.h"
#include "sim/model/step_shape.h"
#include "sim/policy/router.h"
#include "sim/replay/routing_source.h"

namespace moecast {

/// Makes a step without prompt tokens replay the smallest captured graph that holds its rows, all
/// of which it then computes; leaves it eager where none does. REQUIRES: `captured` ascending.
void ReplayGraph(std::span<const int64_t> captured, StepShape& shape);

class Replica {
 public:
  struct Config {
    ReplicaId id{};
    EngineConfig engine{};
    Parallelism parallelism{};
    int64_t kv_tokens_per_group = 0;
    int64_t sliding_window = 0;
    std::optional<KvUse> kv_use{};                     // as Scheduler::Config
    int64_t moe_layers = 0;                            // 0: nothing is routed
    SelectionKind selection = SelectionKind::kNative;  // of a rule applied when routing was loaded
  };
  explicit Replica(const Config& config);

  /// False when no group could ever hold the request.
  [[nodiscard]] bool CanEverFit(const Sequence& sequence) const;
  /// Queues at the group with the fewest requests; ties go to the first.
  void Submit(const Sequence& sequence);

  /// Forms the next batch, counts its routing and prices it. The step is in flight until
  /// FinishStep. REQUIRES: has_work(), no step in flight. RETURNS: the step; record.end says when.
  const StepRecord& StartStep(Time now, CostModel& cost, RoutingSource& routing);
  /// Ends the step in flight. RETURNS: what left; valid until the next call.
  const StepOutcome& FinishStep(RoutingSource& routing);
  /// What is still in the system when the run ends. Call once, last.
  const StepOutcome& Abandon(RoutingSource& routing);

  [[nodiscard]] bool has_work() const;
  [[nodiscard]] const StepRecord& step() const { return step_; }
  [[nodiscard]] ReplicaView View() const;
  [[nodiscard]] std::span<const Scheduler> groups() const { return groups_; }

 private:
  [[nodiscard]] StepShape Shape() const;
  /// The shape, and whose tokens they are where the cost model asks. REQUIRES: CountRouting was
  /// called for a model with experts.
  StepDetail Detail(const CostModel& cost, const StepShape& shape);
  /// Fills experts_ and the rule that chose them.
  void CountRouting(StepShape& shape, RoutingSource& routing);
  [[nodiscard]] StepLoad Load() const;
  void ReportExecuted(RoutingSource& routing) const;

  Config config_;
  std::vector<Scheduler> groups_;
  std::vector<GroupStep> plan_;           // [group], of the step in flight
  std::vector<AttentionLoad> attention_;  // [group], view for the cost model
  std::vector<RoutedSpan> spans_;         // reused per step
  std::vector<SequenceWork> work_;        // reused per step
  std::vector<ExpertLoad> experts_;       // [moe_layer][expert_rank]
  StepRecord step_;
  Seconds last_gap_{};  // length of the last step that decoded
  StepOutcome outcome_;
};

}  // namespace moecast
