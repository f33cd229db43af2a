#include "sim/validate/executed_steps.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "sim/base/check.h"
#include "sim/validate/step_work.h"

namespace moecast {
namespace {

int Octave(int64_t count) { return static_cast<int>(std::bit_width(static_cast<uint64_t>(count))); }

Seconds GpuTime(const StepTime& time) {
  return time.attention + time.experts + time.dense + time.collectives;
}

/// The executed step, its parts in the proportions of the prediction.
StepTime Executed(const StepTime& predicted, Seconds gpu) {
  const double ratio = gpu / GpuTime(predicted);
  StepTime time{.total = RoundUpToNs(gpu + predicted.host),
                .attention = predicted.attention * ratio,
                .experts = predicted.experts * ratio,
                .dense = predicted.dense * ratio,
                .host = predicted.host};
  time.by_label[static_cast<size_t>(Label::kMeasured)] = gpu;
  time.by_label[static_cast<size_t>(Label::kAnalytic)] = predicted.host;
  return time;
}

/// Joins both sides by op name, in the order of the prediction. The router's product is inside the
/// route kernel, so both of its lines are one op here.
std::vector<OpComparison> JoinOps(const std::vector<OpLine>& lines,
                                  const std::vector<OpSeconds>& timed) {
  std::vector<OpComparison> ops;
  const auto at = [&ops](const std::string& name) -> OpComparison& {
    const auto it = std::ranges::find(ops, name, &OpComparison::op);
    return it != ops.end() ? *it : ops.emplace_back(OpComparison{.op = name});
  };
  for (const OpLine& line : lines) {
    if (line.part == StepPart::kHost) continue;
    at(line.name == "gemm.router" ? "route" : line.name).predicted += line.all;
  }
  for (const OpSeconds& each : timed) at(each.op).executed += each.time;
  return ops;
}

}  // namespace

ExecutedSteps::ExecutedSteps(const StepExecutor& executor, ExecutorRequest opened, ExpertIds ids,
                             size_t case_index, std::vector<StepComparison>& log)
    : executor_(executor),
      opened_(std::move(opened)),
      ids_(std::move(ids)),
      case_index_(case_index),
      log_(log) {}

bool ExecutedSteps::IsNewKind(const StepShape& shape) {
  return seen_.insert({shape.graph, Octave(shape.rows_per_group)}).second;
}

StepTime ExecutedSteps::Run(const StepDetail& step, StepCost& predicted) {
  const StepTime time = predicted.Predict(step.shape);
  if (!status_.ok()) return time;
  const StepRun run{.sequences = step.sequences,
                    .rows = step.shape.rows_per_group,
                    .logit_rows = step.shape.logit_rows_per_group,
                    .graph = step.shape.graph,
                    .experts = ids_.Of(step.routed),
                    .time_ops = IsNewKind(step.shape)};
  const Result<ExecutedStep> executed = executor_.run(run);
  if (!executed.ok()) {
    status_ = executed.errors();
    return time;
  }
  gpu_ += executed->gpu;
  preparing_ += executed->preparing;
  timing_ops_ += executed->timing_ops;
  Note(step.shape, time, *executed, StepWork(opened_, run));
  if (!executed->ops.empty()) {
    log_.back().ops = JoinOps(predicted.Explain(step.shape), executed->ops);
  }
  return Executed(time, executed->gpu);
}

void ExecutedSteps::Note(const StepShape& shape, const StepTime& predicted,
                         const ExecutedStep& executed, uint64_t work) {
  const AttentionLoad& load = shape.attention.front();
  log_.push_back({.case_index = case_index_,
                  .step = steps_++,
                  .decode_sequences = load.decode_sequences,
                  .decode_context = load.decode_context,
                  .prefill_tokens = load.prefill_tokens,
                  .prefill_context = load.prefill_context,
                  .rows = shape.rows_per_group,
                  .graph = shape.graph,
                  .work = work,
                  .predicted = GpuTime(predicted),
                  .executed = executed.gpu,
                  .sm_mhz = executed.sm_mhz,
                  .host = predicted.host,
                  .attention = predicted.attention,
                  .experts = predicted.experts,
                  .dense = predicted.dense,
                  .layers = executed.layers});
}

}  // namespace moecast
