// `moecast run`: a scenario file in, a forecast out.
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "reports/console.h"
#include "reports/proxies.h"
#include "reports/quality.h"
#include "reports/result_folder.h"
#include "reports/write_results.h"
#include "sim/app/argument_checks.h"
#include "sim/app/commands.h"
#include "sim/app/scenario_arguments.h"
#include "sim/base/text.h"
#include "sim/run/run_study.h"

namespace moecast {
namespace {

constexpr const char* kFooter =
    "Prints one row per load and variant, with ratios to the first variant, then what the figures\n"
    "rest on. Every variant sees the same arrivals, lengths and routing.\n"
    "\n"
    "Examples:\n"
    "  moecast run scenarios/examples/01_first_forecast.yaml\n"
    "  moecast run my.yaml --out results           keep every row and series as CSV and JSON\n"
    "  moecast run my.yaml --set seed=7 --set cluster.replicas=2\n"
    "  moecast run my.yaml --resolve > full.yaml   see every default and catalog entry used\n"
    "\n"
    "Exit codes: 0 ok; 1 a case finished no request, so it has no forecast; 2 bad input.\n";

struct RunArguments {
  ScenarioArguments scenario;
  std::string out;
  int threads = 1;
  int64_t routing_mib = ReplayTable::kResidentBytes >> 20;
  bool resolve = false;
};

/// One line on the terminal that is rewritten after each run; nothing when stderr is a file.
std::function<void(int, int)> ProgressLine() {
  if (isatty(STDERR_FILENO) == 0) return {};
  return [](int done, int all) {
    std::fprintf(stderr, "\r%d of %d runs done%s", done, all, done == all ? "\n" : "");
  };
}

/// Cases in which no request was measured.
std::string CasesWithoutForecast(const StudyResult& result) {
  std::string names;
  for (const CaseResult& c : result.cases) {
    for (const RunResult& run : c.replications) {
      if (run.summary.measured > 0) continue;
      names += (names.empty() ? "" : ", ") + c.variant + (c.load.empty() ? "" : "@" + c.load);
      break;
    }
  }
  return names;
}

Status WriteFiles(const Study& study, const StudyResult& result, ResultFolder& folder) {
  SIM_RETURN_IF_ERROR(WriteResults(study, result, folder.staging()));
  return folder.Publish();
}

/// Runs the study and prints it. RETURNS: the exit code, or why nothing was written.
Result<int> RunAndReport(const Study& study, const RunArguments& arguments) {
  std::optional<ResultFolder> folder;
  RunOptions options{.threads = arguments.threads,
                     .routing_bytes = arguments.routing_mib << 20,
                     .request_rows = std::nullopt,
                     .progress = ProgressLine()};
  if (!arguments.out.empty()) {
    SIM_TRY(ResultFolder opened, ResultFolder::Open(arguments.out));
    folder.emplace(std::move(opened));
    options.request_rows = folder->staging();
  }
  SIM_TRY(const StudyResult result, RunStudy(study, options));
  if (folder) SIM_RETURN_IF_ERROR(WriteFiles(study, result, *folder));
  std::string text = RenderTable(study, result) + "\n";
  if (const std::string quality = RenderQuality(study); !quality.empty()) text += quality + "\n";
  if (const std::string proxies = RenderProxies(study, result); !proxies.empty()) {
    text += proxies + "\n";
  }
  text += RenderProvenance(study, result);
  if (folder) text += "files        " + arguments.out + "\n";
  SIM_RETURN_IF_ERROR(PrintToStdout(text));
  if (isatty(STDERR_FILENO) != 0) {
    std::fprintf(stderr, "simulated in %s s\n", Fixed(result.wall_seconds, 2).c_str());
  }
  const std::string empty = CasesWithoutForecast(result);
  if (empty.empty()) return kExitOk;
  std::fprintf(stderr, "no request finished after warm-up in: %s\n", empty.c_str());
  return kExitCheckFailed;
}

int Run(const RunArguments& arguments) {
  const Result<Study> study = LoadStudy(arguments.scenario);
  if (!study.ok()) return FailWith(study.errors());
  if (arguments.resolve) {
    const Status printed = PrintToStdout(study->resolved_yaml);
    return printed.ok() ? kExitOk : FailWith(printed.errors());
  }
  const Result<int> exit_code = RunAndReport(*study, arguments);
  return exit_code.ok() ? *exit_code : FailWith(exit_code.errors());
}

}  // namespace

void AddRunCommand(CLI::App& app, int& exit_code) {
  CLI::App* command = app.add_subcommand("run", "Simulate a scenario and print its forecast");
  const auto arguments = std::make_shared<RunArguments>();
  arguments->threads = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  AddScenarioArguments(*command, arguments->scenario);
  command->add_option("--out", arguments->out, "Write every file of the result to this folder")
      ->type_name("DIR");
  command
      ->add_option("--threads", arguments->threads,
                   "Runs at a time; results do not depend on it (default: all cores)")
      ->check(WholeNumber(1, kMostThreads));
  command
      ->add_option("--routing-memory", arguments->routing_mib,
                   "MiB for routing tables; the rest lies in temporary files and is paged as it is "
                   "used. Results do not depend on it (default: 16384)")
      ->check(WholeNumber(16, uint64_t{1} << 30))
      ->type_name("MIB");
  command->add_flag("--resolve", arguments->resolve,
                    "Print the scenario with every default and catalog entry, and stop");
  command->footer(kFooter);
  command->callback([arguments, &exit_code] { exit_code = Run(*arguments); });
}

}  // namespace moecast
