// `moecast validate`: a scenario predicted, and executed by the real kernels on this machine's GPU.
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <system_error>

#include "reports/result_folder.h"
#include "reports/write_results.h"
#include "sim/app/argument_checks.h"
#include "sim/app/commands.h"
#include "sim/app/scenario_arguments.h"
#include "sim/base/files.h"
#include "sim/model/step_executor.h"
#include "sim/run/run_study.h"
#include "sim/validate/recorded_execution.h"
#include "sim/validate/validation_files.h"

namespace moecast {
namespace {

namespace fs = std::filesystem;

constexpr const char* kFooter =
    "Runs every case twice on the same arrivals, lengths and routing: once with predicted step "
    "times,\n"
    "once with every step executed on this machine's GPU: random weights, the scenario's own "
    "expert\n"
    "choices, a paged KV cache. Writes both results and the error of the prediction per step, per "
    "op\n"
    "and for the headline figures (docs/validation.md). Host times are modelled in both.\n"
    "--recorded needs no GPU: steps take what they took in an earlier validation of the same\n"
    "scenario, and the forecast is made anew, with another profile say.\n"
    "\n"
    "A tolerance that is not given is not checked.\n"
    "\n"
    "Examples:\n"
    "  moecast validate --scenario scenarios/validation/olmoe_bf16.yaml --out v\n"
    "  moecast validate --scenario my.yaml --out v --tolerance 3 --tail-tolerance 10\n"
    "  moecast validate --scenario my.yaml --recorded v --set cost.profile=new.yaml --out v2\n"
    "\n"
    "Exit codes: 0 ok; 1 a tolerance is exceeded; 2 bad input, or no GPU that can run it.\n";

struct ValidateArguments {
  ScenarioArguments scenario;
  std::string out;
  std::string recorded;
  std::optional<double> tolerance;
  std::optional<double> tail_tolerance;
  std::optional<double> speedup_tolerance;
};

Tolerances TolerancesOf(const ValidateArguments& arguments) {
  constexpr double kPercent = 100;
  Tolerances tolerances{.speedups = arguments.speedup_tolerance};
  if (arguments.tolerance) tolerances.steps = *arguments.tolerance / kPercent;
  if (arguments.tail_tolerance) tolerances.tails = *arguments.tail_tolerance / kPercent;
  return tolerances;
}

Status WriteComparison(const Study& study, const ExecutedStudy& executed,
                       const Validation& validation, const fs::path& out) {
  const auto write = [&out](const char* name, const std::string& text) {
    return WriteFileAtomically(out / name, text);
  };
  SIM_RETURN_IF_ERROR(write("cases.csv", CasesCsv(study, executed)));
  SIM_RETURN_IF_ERROR(write("steps.csv", StepsCsv(study, executed.steps)));
  SIM_RETURN_IF_ERROR(write("ops.csv", OpsCsv(study, executed.steps)));
  SIM_RETURN_IF_ERROR(write("step_errors.csv", ErrorLinesCsv(study, validation.steps)));
  SIM_RETURN_IF_ERROR(write("op_errors.csv", ErrorLinesCsv(study, validation.ops)));
  SIM_RETURN_IF_ERROR(write("composition.csv", CompositionCsv(study, validation)));
  SIM_RETURN_IF_ERROR(write("figures.csv", FigureErrorsCsv(study, validation)));
  return write("validation.md", RenderValidation(study, validation, executed));
}

/// One line on the terminal that is rewritten; nothing when stderr is a file.
std::function<void(const std::string&)> ProgressLine() {
  if (isatty(STDERR_FILENO) == 0) return {};
  return [](const std::string& what) { std::fprintf(stderr, "\r\033[K%s", what.c_str()); };
}

/// By this machine's GPU, or as recorded.
Result<ExecutedStudy> Execute(const Study& study, const ValidateArguments& arguments,
                              const ExecutionOptions& options) {
  if (arguments.recorded.empty()) return ExecuteStudy(study, OpenStepExecutor, options);
  SIM_TRY(const RecordedExecution recorded, RecordedExecution::Read(arguments.recorded));
  SIM_TRY(ExecutedStudy executed, ExecuteStudy(study, recorded.Open(), options));
  SIM_RETURN_IF_ERROR(recorded.CheckUsedUp());
  executed.times = recorded.times();
  return executed;
}

/// RETURNS: the exit code, or why there is no validation.
Result<int> Validate(const ValidateArguments& arguments) {
  SIM_TRY(const Study study, LoadStudy(arguments.scenario));
  SIM_RETURN_IF_ERROR(CheckExecutable(study));
  const fs::path out = arguments.out;
  SIM_TRY(ResultFolder predicted_folder, ResultFolder::Open(out / "predicted"));
  SIM_TRY(ResultFolder executed_folder, ResultFolder::Open(out / "executed"));
  const auto progress = ProgressLine();
  SIM_TRY(
      const ExecutedStudy executed,
      Execute(study, arguments, {.request_rows = executed_folder.staging(), .progress = progress}));
  if (progress) progress("");
  SIM_TRY(const StudyResult predicted,
          RunStudy(study, {.threads = 1, .request_rows = predicted_folder.staging()}));
  const Validation validation = Compare(study, predicted, executed);
  SIM_RETURN_IF_ERROR(WriteResults(study, predicted, predicted_folder.staging()));
  SIM_RETURN_IF_ERROR(WriteResults(study, executed.result, executed_folder.staging()));
  SIM_RETURN_IF_ERROR(predicted_folder.Publish());
  SIM_RETURN_IF_ERROR(executed_folder.Publish());
  SIM_RETURN_IF_ERROR(WriteComparison(study, executed, validation, out));
  SIM_RETURN_IF_ERROR(PrintToStdout(RenderValidation(study, validation, executed)));
  const std::vector<std::string> excesses = Excesses(study, validation, TolerancesOf(arguments));
  for (const std::string& excess : excesses) std::fprintf(stderr, "%s\n", excess.c_str());
  return excesses.empty() ? kExitOk : kExitCheckFailed;
}

}  // namespace

void AddValidateCommand(CLI::App& app, int& exit_code) {
  CLI::App* command = app.add_subcommand(
      "validate", "Compare a scenario's forecast with its execution on this machine's GPU");
  const auto arguments = std::make_shared<ValidateArguments>();
  AddNamedScenarioArguments(*command, arguments->scenario);
  command->add_option("--out", arguments->out, "Folder of both results and the comparison")
      ->required()
      ->type_name("DIR");
  command
      ->add_option("--tolerance", arguments->tolerance,
                   "Largest mean error of steps, and error of throughput and medians")
      ->check(NonNegative())
      ->type_name("PERCENT");
  command->add_option("--tail-tolerance", arguments->tail_tolerance, "Largest error of p99 figures")
      ->check(NonNegative())
      ->type_name("PERCENT");
  command
      ->add_option("--speedup-tolerance", arguments->speedup_tolerance,
                   "Largest difference of a variant's speed-up over the first")
      ->check(NonNegative())
      ->type_name("POINTS");
  command
      ->add_option("--recorded", arguments->recorded,
                   "Folder of an earlier validation of this scenario, whose steps are taken as "
                   "executed")
      ->type_name("DIR");
  command->footer(kFooter);
  command->callback([arguments, &exit_code] {
    const Result<int> code = Validate(*arguments);
    exit_code = code.ok() ? *code : FailWith(code.errors());
  });
}

}  // namespace moecast
