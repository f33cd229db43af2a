#include "sim/engine/replica.h"

#include <algorithm>

#include "sim/base/check.h"

namespace moecast {
namespace {

/// Fills the step's expert figures from its loads [moe_layer][rank].
void SummariseExperts(std::span<const ExpertLoad> loads, size_t ranks, StepRecord& step) {
  double distinct = 0;
  double imbalance = 0;
  for (size_t first = 0; first < loads.size(); first += ranks) {
    double assignments = 0;
    double fullest = 0;
    for (const ExpertLoad& load : loads.subspan(first, ranks)) {
      distinct += load.distinct;
      assignments += load.assignments;
      fullest = std::max(fullest, load.assignments);
    }
    imbalance += assignments > 0 ? fullest * static_cast<double>(ranks) / assignments : 1.0;
  }
  const auto layers = static_cast<double>(loads.size()) / static_cast<double>(ranks);
  step.distinct_experts = distinct / layers;
  step.rank_imbalance = imbalance / layers;
}

}  // namespace

void ReplayGraph(std::span<const int64_t> captured, StepShape& shape) {
  const auto it = std::lower_bound(captured.begin(), captured.end(), shape.rows_per_group);
  if (it == captured.end()) return;
  shape.graph = true;
  shape.rows_per_group = *it;
  shape.logit_rows_per_group = *it;
}

Replica::Replica(const Config& config)
    : config_(config),
      groups_(static_cast<size_t>(config.parallelism.data),
              Scheduler({.max_batch_tokens = config.engine.max_batch_tokens,
                         .max_sequences = config.engine.max_sequences,
                         .kv = {.tokens = config.kv_tokens_per_group,
                                .block_tokens = config.engine.kv_block_tokens},
                         .sliding_window = config.sliding_window,
                         .kv_use = config.kv_use})),
      plan_(groups_.size()),
      attention_(groups_.size()),
      experts_(static_cast<size_t>(config.moe_layers * config.parallelism.expert)) {
  SIM_CHECK(std::is_sorted(config.engine.graph_batch_sizes.begin(),
                           config.engine.graph_batch_sizes.end()));
}

bool Replica::CanEverFit(const Sequence& sequence) const {
  return groups_.front().CanEverFit(sequence);
}

void Replica::Submit(const Sequence& sequence) {
  const auto requests = [](const Scheduler& group) { return group.waiting() + group.running(); };
  std::ranges::min_element(groups_, {}, requests)->Enqueue(sequence);
}

bool Replica::has_work() const { return std::ranges::any_of(groups_, &Scheduler::has_work); }

const StepRecord& Replica::StartStep(Time now, CostModel& cost, RoutingSource& routing) {
  outcome_.Clear();
  step_ = {.start = now, .replica = config_.id};
  for (size_t g = 0; g < groups_.size(); ++g) {
    plan_[g] = groups_[g].FormBatch(now, outcome_.executed);
    if (groups_.size() > 1) attention_[g] = plan_[g].load;
    step_.decode_sequences += plan_[g].load.decode_sequences;
    step_.prefill_tokens += plan_[g].load.prefill_tokens;
    step_.tokens_emitted += plan_[g].emitting;
    step_.preemptions += plan_[g].preemptions;
    step_.converted_tokens += plan_[g].load.converted_tokens;
  }
  ReportExecuted(routing);
  StepShape shape = Shape();
  SIM_CHECK(shape.tokens > 0);  // INV-4
  if (config_.moe_layers > 0) CountRouting(shape, routing);
  step_.time = TimeOfStep(cost, Detail(cost, shape));
  step_.end = now + step_.time.total;
  return step_;
}

StepDetail Replica::Detail(const CostModel& cost, const StepShape& shape) {
  if (!WantsDetail(cost)) return {.shape = shape};
  work_.clear();
  for (const Scheduler& group : groups_) group.AppendWork(work_);
  return {.shape = shape, .sequences = work_, .routed = spans_};
}

StepShape Replica::Shape() const {
  StepShape shape{.attention = groups_.size() > 1 ? std::span<const AttentionLoad>(attention_)
                                                  : std::span(&plan_.front().load, 1),
                  .tokens = step_.decode_sequences + step_.prefill_tokens,
                  .experts = experts_};
  for (const GroupStep& group : plan_) {
    shape.rows_per_group = std::max(shape.rows_per_group, group.load.tokens());
    shape.logit_rows_per_group = std::max(shape.logit_rows_per_group, group.emitting);
  }
  if (step_.prefill_tokens == 0) ReplayGraph(config_.engine.graph_batch_sizes, shape);
  return shape;
}

void Replica::CountRouting(StepShape& shape, RoutingSource& routing) {
  spans_.clear();
  for (const Scheduler& group : groups_) group.AppendSpans(spans_);
  const bool routed = shape.graph && config_.engine.padding == GraphPadding::kRouted;
  const int64_t padding =
      routed ? shape.rows_per_group * config_.parallelism.data - shape.tokens : 0;
  std::visit([&](auto& source) { source.Count(spans_, padding, experts_, Load()); }, routing);
  const auto* selecting = std::get_if<SelectingSource>(&routing);
  shape.selection = selecting != nullptr ? selecting->selection() : config_.selection;
  SummariseExperts(experts_, static_cast<size_t>(config_.parallelism.expert), step_);
}

StepLoad Replica::Load() const {
  StepLoad load{.decode_sequences = step_.decode_sequences,
                .prefill_tokens = step_.prefill_tokens,
                .last_gap = last_gap_};
  for (const Scheduler& group : groups_) load.waiting_requests += group.waiting();
  return load;
}

void Replica::ReportExecuted(RoutingSource& routing) const {
  if (config_.moe_layers == 0) return;
  std::visit(
      [this](auto& source) {
        for (const RoutedSpan& span : outcome_.executed) source.AddToTotals(span);
      },
      routing);
}

const StepOutcome& Replica::FinishStep(RoutingSource& routing) {
  outcome_.Clear();
  if (step_.decode_sequences > 0) last_gap_ = Seconds(ToSeconds(step_.end - step_.start));
  for (Scheduler& group : groups_) group.FinishStep(step_.end, outcome_);
  ReportExecuted(routing);
  return outcome_;
}

const StepOutcome& Replica::Abandon(RoutingSource& routing) {
  outcome_.Clear();
  for (Scheduler& group : groups_) {
    SIM_CHECK(group.CountHeldBlocks() == group.kv().used());  // INV-3
    group.Abandon(outcome_);
  }
  ReportExecuted(routing);
  return outcome_;
}

ReplicaView Replica::View() const {
  ReplicaView view{.id = config_.id};
  for (const Scheduler& group : groups_) {
    view.waiting_requests += group.waiting();
    view.running_requests += group.running();
    view.kv_tokens_used += group.kv().used() * group.kv().block_tokens();
    view.kv_tokens_total += group.kv().total() * group.kv().block_tokens();
  }
  return view;
}

}  // namespace moecast
