#include "sim/run/run_study.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>

#include "sim/run/build.h"
#include "sim/run/case_files.h"
#include "sim/run/routing_tables.h"

namespace moecast {
namespace {

struct Job {
  size_t case_index = 0;
  uint32_t replication = 0;
  StepQuantile quantile = StepQuantile::kExpected;
};

std::vector<Job> ListJobs(const Study& study) {
  std::vector<Job> jobs;
  for (size_t i = 0; i < study.cases.size(); ++i) {
    for (int64_t r = 0; r < study.cases[i].scenario.replications; ++r) {
      jobs.push_back({.case_index = i, .replication = static_cast<uint32_t>(r)});
    }
    if (study.cases[i].scenario.profile == nullptr) continue;
    for (const StepQuantile quantile : {StepQuantile::kFast, StepQuantile::kSlow}) {
      jobs.push_back({.case_index = i, .replication = 0, .quantile = quantile});
    }
  }
  return jobs;
}

/// The prices of the case that a worker ran last: every run of it has the same.
struct CasePrices {
  const Scenario* scenario = nullptr;
  std::optional<StepCost> cost{};
};

void AddDistinct(Errors& errors, const Errors& more) {
  for (const Error& error : more) {
    if (std::find(errors.begin(), errors.end(), error) == errors.end()) errors.push_back(error);
  }
}

/// Every case with its memory plan and selection notes, no replication run yet.
Result<StudyResult> PlanCases(const Study& study) {
  StudyResult result;
  Errors errors;
  for (const StudyCase& c : study.cases) {
    const Result<MemoryPlan> memory = PlanMemory(c.scenario);
    if (!memory.ok()) AddDistinct(errors, memory.errors());
    result.cases.push_back({.variant = c.variant,
                            .load = c.load,
                            .memory = memory.ok() ? *memory : MemoryPlan{},
                            .selection = ClosedFormSelection(c.scenario),
                            .kv_output_error = c.kv_output_error,
                            .replications = {}});
    const Result<RequestSource> requests =
        RequestSource::Open(c.scenario.workload, {.seed = c.scenario.seed, .replication = 0});
    if (!requests.ok()) AddDistinct(errors, requests.errors());
  }
  if (!errors.empty()) return errors;
  return result;
}

/// What a policy that decides in the step did is known after the run.
void NoteStepSelection(const Scenario& scenario, CaseResult& cell) {
  if (!scenario.model.moe || !IsStepLevel(scenario.experts)) return;
  uint64_t cells = 0;
  uint64_t experts = 0;
  SelectionProxies sum;
  for (const RunResult& run : cell.replications) {
    cells += run.routing.selected_cells;
    experts += run.routing.selected_experts;
    sum.Add(run.routing.proxies);
  }
  cell.selection = {.native_top_k = static_cast<double>(scenario.model.moe->top_k),
                    .completed_share = cell.selection.completed_share};
  if (cells > 0)
    cell.selection.mean_kept = static_cast<double>(experts) / static_cast<double>(cells);
  if (sum.cells > 0) {
    cell.selection.changed_share = sum.changed_cells / sum.cells;
    cell.selection.changed_experts = sum.missing_experts / sum.cells;
  }
  if (sum.cells_with_scores == sum.cells && sum.native_mass > 0) {
    cell.selection.kept_gate_mass = sum.kept_mass / sum.native_mass;
  }
}

Status MakeCaseFolders(const Study& study, const std::filesystem::path& root) {
  for (size_t i = 0; i < study.cases.size(); ++i) {
    const std::filesystem::path folder = root / CaseFolder(study, i);
    std::error_code failure;
    std::filesystem::create_directories(folder, failure);
    if (failure) return Error{"cannot create the folder: " + failure.message(), folder.string()};
  }
  return Ok();
}

/// The study's inputs, shared read-only by the workers.
class Workers {
 public:
  Workers(const Study& study, const RunOptions& options, const StudyResult& plan,
          const RoutingTables& tables)
      : study_(study),
        options_(options),
        plan_(plan),
        tables_(tables),
        jobs_(ListJobs(study)),
        outcomes_(jobs_.size()) {}

  /// RETURNS: one result per job in job order, or the errors of the first failed job in that order.
  Result<std::vector<RunResult>> RunAll() {
    const size_t threads = std::clamp<size_t>(static_cast<size_t>(std::max(options_.threads, 1)), 1,
                                              std::max<size_t>(jobs_.size(), 1));
    first_failed_ = jobs_.size();
    {
      std::vector<std::jthread> pool;
      for (size_t t = 1; t < threads; ++t) pool.emplace_back([this] { Work(); });
      Work();
    }
    std::vector<RunResult> results;
    for (std::unique_ptr<Result<RunResult>>& outcome : outcomes_) {
      if (!outcome->ok()) return outcome->errors();
      results.push_back(std::move(*outcome).value());
    }
    return results;
  }

  [[nodiscard]] const std::vector<Job>& jobs() const { return jobs_; }

 private:
  void Work() {
    CasePrices prices;
    for (size_t i = next_++; i < jobs_.size(); i = next_++) {
      // Jobs before the first failure always run, so the reported failure is the same at any
      // thread count; jobs after it are not worth their time.
      if (i > first_failed_) continue;
      outcomes_[i] = std::make_unique<Result<RunResult>>(RunOne(jobs_[i], prices));
      const std::scoped_lock lock(mutex_);
      if (!outcomes_[i]->ok()) first_failed_ = std::min<size_t>(first_failed_, i);
      ++done_;
      if (options_.progress) options_.progress(done_, static_cast<int>(jobs_.size()));
    }
  }

  Result<RunResult> RunOne(const Job& job, CasePrices& prices) const {
    const Scenario& scenario = study_.cases[job.case_index].scenario;
    RunParts parts{.routing = tables_[job.case_index],
                   .memory = plan_.cases[job.case_index].memory,
                   .replication = job.replication,
                   .quantile = job.quantile,
                   .recorder = {}};
    const bool keep_rows = options_.request_rows && job.quantile == StepQuantile::kExpected;
    if (!keep_rows) return RunParted(scenario, std::move(parts), prices);
    SIM_TRY(RequestRowsFile rows,
            RequestRowsFile::Create(*options_.request_rows / CaseFolder(study_, job.case_index) /
                                    ReplicationFile("requests", scenario, job.replication)));
    parts.recorder.sink = [&rows](std::span<const RequestRecord> batch) { rows.Add(batch); };
    SIM_TRY(RunResult result, RunParted(scenario, std::move(parts), prices));
    SIM_RETURN_IF_ERROR(rows.Commit());
    return result;
  }

  static Result<RunResult> RunParted(const Scenario& scenario, RunParts parts, CasePrices& prices) {
    CasePrices known = std::exchange(prices, {});
    if (known.scenario == &scenario) parts.cost = std::move(known.cost);
    SIM_TRY(SimulatorInputs inputs, BuildSimulatorInputs(scenario, std::move(parts)));
    Simulator simulator(std::move(inputs));
    SIM_TRY(RunResult result, simulator.Run());
    prices = {.scenario = &scenario, .cost = std::get<StepCost>(simulator.TakeCost())};
    return result;
  }

  const Study& study_;
  const RunOptions& options_;
  const StudyResult& plan_;
  const RoutingTables& tables_;
  std::vector<Job> jobs_;
  std::vector<std::unique_ptr<Result<RunResult>>> outcomes_;  // [job]; null: skipped
  std::atomic<size_t> next_ = 0;
  std::atomic<size_t> first_failed_ = 0;
  std::mutex mutex_;
  int done_ = 0;
};

}  // namespace

Result<StudyResult> RunStudy(const Study& study, const RunOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  SIM_TRY(StudyResult result, PlanCases(study));
  SIM_TRY(const RoutingTables tables,
          LoadRoutingTables(study.cases, std::max(options.threads, 1), options.routing_bytes));
  for (size_t i = 0; i < tables.size(); ++i) {
    if (const auto table = tables[i].table()) result.cases[i].selection = table->selection();
    result.cases[i].selection.completed_share = tables[i].completed_share;
  }
  if (options.request_rows) SIM_RETURN_IF_ERROR(MakeCaseFolders(study, *options.request_rows));
  Workers workers(study, options, result, tables);
  SIM_TRY(std::vector<RunResult> runs, workers.RunAll());
  for (size_t i = 0; i < runs.size(); ++i) {
    const Job& job = workers.jobs()[i];
    CaseResult& cell = result.cases[job.case_index];
    const bool expected = job.quantile == StepQuantile::kExpected;
    (expected ? cell.replications : cell.fast_and_slow).push_back(std::move(runs[i]));
  }
  for (size_t i = 0; i < result.cases.size(); ++i) {
    NoteStepSelection(study.cases[i].scenario, result.cases[i]);
  }
  const std::chrono::duration<double> wall = std::chrono::steady_clock::now() - start;
  result.wall_seconds = wall.count();
  return result;
}

}  // namespace moecast
