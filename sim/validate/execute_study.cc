#include "sim/validate/execute_study.h"

#include <chrono>
#include <memory>
#include <utility>

#include "sim/base/text.h"
#include "sim/engine/simulator.h"
#include "sim/policy/kv_policy.h"
#include "sim/run/build.h"
#include "sim/run/case_files.h"
#include "sim/run/routing_tables.h"
#include "sim/validate/executed_steps.h"

namespace moecast {
namespace {

std::string NameOf(const StudyCase& c) {
  return "case '" + c.variant + (c.load.empty() ? "" : "@" + c.load) + "'";
}

ExecutorRequest RequestOf(const Scenario& scenario, const MemoryPlan& memory) {
  return {.model = scenario.model,
          .device = scenario.device,
          .kv = std::get<UniformKv>(scenario.kv).scheme,
          .kv_tokens = memory.kv_tokens,
          .max_batch_tokens = scenario.engine.max_batch_tokens,
          .max_sequences = scenario.engine.max_sequences};
}

constexpr int64_t kStepsBetweenReports = 16;

/// Wall time since it was made: provenance, not a result.
class Stopwatch {
 public:
  [[nodiscard]] Seconds Elapsed() const {
    return Seconds(std::chrono::duration<double>(Clock::now() - start_).count());
  }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point start_ = Clock::now();
};

/// One study's executed cases, filled one by one.
class Execution {
 public:
  Execution(const Study& study, const OpenExecutor& open, const RoutingTables& tables,
            const ExecutionOptions& options, ExecutedStudy& out)
      : study_(study), executors_(open), tables_(tables), options_(options), out_(out) {}

  Status RunCase(size_t i) {
    const StudyCase& c = study_.cases[i];
    const Stopwatch all;
    CaseSeconds& time = out_.times.emplace_back();
    SIM_TRY(const MemoryPlan memory, PlanMemory(c.scenario));
    Say(i, "weights and cache");
    const Stopwatch opening;
    const ExecutorRequest request = RequestOf(c.scenario, memory);
    SIM_TRY(const StepExecutor* const executor, executors_.For(request));
    time.opening = opening.Elapsed();
    out_.device = executor->device;
    const auto table = tables_[i].table();
    CaseResult cell{.variant = c.variant,
                    .load = c.load,
                    .memory = memory,
                    .selection = table ? table->selection() : ClosedFormSelection(c.scenario),
                    .replications = {}};
    for (int64_t r = 0; r < c.scenario.replications; ++r) {
      RunParts parts{.routing = tables_[i],
                     .memory = memory,
                     .replication = static_cast<uint32_t>(r),
                     .recorder = {}};
      SIM_TRY(RunResult run, RunKeepingRows(i, std::move(parts), {*executor, request}));
      cell.replications.push_back(std::move(run));
    }
    out_.result.cases.push_back(std::move(cell));
    time.all = all.Elapsed();
    return Ok();
  }

 private:
  struct Opened {
    const StepExecutor& executor;
    const ExecutorRequest& request;
  };

  Result<RunResult> RunKeepingRows(size_t i, RunParts parts, const Opened& opened) {
    if (!options_.request_rows) return RunOne(i, std::move(parts), opened);
    const Scenario& scenario = study_.cases[i].scenario;
    const std::filesystem::path folder = *options_.request_rows / CaseFolder(study_, i);
    std::error_code failure;
    std::filesystem::create_directories(folder, failure);
    if (failure) return Error{"cannot create the folder: " + failure.message(), folder.string()};
    SIM_TRY(
        RequestRowsFile rows,
        RequestRowsFile::Create(folder / ReplicationFile("requests", scenario, parts.replication)));
    parts.recorder.sink = [&rows](std::span<const RequestRecord> batch) { rows.Add(batch); };
    SIM_TRY(RunResult result, RunOne(i, std::move(parts), opened));
    SIM_RETURN_IF_ERROR(rows.Commit());
    return result;
  }

  Result<RunResult> RunOne(size_t i, RunParts parts, const Opened& opened) {
    const Scenario& scenario = study_.cases[i].scenario;
    const int64_t top_k = scenario.model.moe ? scenario.model.moe->top_k : 0;
    ExecutedSteps steps(opened.executor, opened.request, ExpertIds(parts.routing.table(), top_k), i,
                        out_.steps);
    SIM_TRY(SimulatorInputs inputs, BuildSimulatorInputs(scenario, std::move(parts)));
    inputs.cost = ExecutedCost{.predicted = std::get<StepCost>(std::move(inputs.cost)),
                               .run = [&](const StepDetail& step, StepCost& cost) {
                                 if (steps.count() % kStepsBetweenReports == 0)
                                   Say(i, StepsText(steps));
                                 return steps.Run(step, cost);
                               }};
    Result<RunResult> result = Simulator(std::move(inputs)).Run();
    SIM_RETURN_IF_ERROR(steps.status());
    CaseSeconds& time = out_.times[i];
    time.preparing += steps.preparing();
    time.gpu += steps.gpu();
    time.timing_ops += steps.timing_ops();
    return result;
  }

  static std::string StepsText(const ExecutedSteps& steps) {
    return std::to_string(steps.count()) + " steps, " + Fixed(steps.gpu().count(), 1) +
           " s of GPU time";
  }

  void Say(size_t i, const std::string& what) const {
    if (!options_.progress) return;
    options_.progress(NameOf(study_.cases[i]) + ", " + std::to_string(i + 1) + " of " +
                      std::to_string(study_.cases.size()) + ": " + what);
  }

  const Study& study_;
  LastExecutor executors_;
  const RoutingTables& tables_;
  const ExecutionOptions& options_;
  ExecutedStudy& out_;
};

}  // namespace

Status CheckExecutable(const Study& study) {
  Errors errors;
  for (const StudyCase& c : study.cases) {
    const Scenario& s = c.scenario;
    if (s.parallelism.gpus() != 1 || s.replicas != 1) {
      errors.push_back({"validation executes one replica on one GPU; this case has " +
                            std::to_string(s.replicas) + " of " +
                            std::to_string(s.parallelism.gpus()) + " GPUs",
                        NameOf(c) + ": cluster"});
    }
    if (s.model.moe && !NeedsReplayTable(s)) {
      errors.push_back(
          {"validation executes real expert choices, and `uniform` routing has only "
           "expected ones; use `synthetic` or `replay`",
           NameOf(c) + ": routing"});
    }
    if (IsStepLevel(s.experts)) {
      errors.push_back(
          {"validation executes what was chosen before the run; a rule that chooses "
           "in the step is not executed",
           NameOf(c) + ": experts"});
    }
    if (!std::holds_alternative<UniformKv>(s.kv)) {
      errors.push_back(
          {"validation executes one KV scheme for all layers and sequences; this case "
           "has " +
               DescribeKv(PlanKv(s)),
           NameOf(c) + ": kv"});
    }
    if (s.engine.padding != GraphPadding::kMasked) {
      errors.push_back(
          {"validation executes padding rows without experts; graph_padding must be "
           "`masked`",
           NameOf(c) + ": engine.graph_padding"});
    }
  }
  if (!errors.empty()) return errors;
  return Ok();
}

Result<ExecutedStudy> ExecuteStudy(const Study& study, const OpenExecutor& open,
                                   const ExecutionOptions& options) {
  const Stopwatch all;
  if (options.progress) options.progress("routing tables");
  SIM_TRY(const RoutingTables tables, LoadRoutingTables(study.cases, 1));
  ExecutedStudy executed;
  Execution execution(study, open, tables, options, executed);
  for (size_t i = 0; i < study.cases.size(); ++i) {
    SIM_RETURN_IF_ERROR(execution.RunCase(i));
  }
  executed.result.wall_seconds = all.Elapsed().count();
  return executed;
}

}  // namespace moecast
