// `moecast trace`: import, measure and synthesise expert-routing traces.
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "reports/routing_page.h"
#include "sim/app/argument_checks.h"
#include "sim/app/cmd_trace_import.h"
#include "sim/app/cmd_trace_tune.h"
#include "sim/app/cmd_trace_twin.h"
#include "sim/app/commands.h"
#include "sim/app/scenario_arguments.h"
#include "sim/base/files.h"
#include "sim/replay/gate_measures.h"
#include "traces/routing_reader.h"
#include "traces/routing_stats.h"
#include "traces/routing_stats_report.h"

namespace moecast {
namespace {

constexpr uint64_t kMostTokens = uint64_t{1} << 30;  // of a batch; draws alike

int ExitCodeOf(const Status& status) { return status.ok() ? kExitOk : FailWith(status.errors()); }

struct StatsArguments {
  std::string file;
  bool json = false;
  std::string report;
  RoutingStatsOptions options;
};

Status RunStats(const StatsArguments& arguments) {
  SIM_TRY(RoutingReader reader, RoutingReader::Open(arguments.file));
  for (const int64_t ranks : arguments.options.ranks) {
    if (ranks <= reader.header().experts) continue;
    return Error{std::to_string(ranks) + " ranks for " + std::to_string(reader.header().experts) +
                     " experts, at most one rank per expert is allowed",
                 "--ranks"};
  }
  std::optional<AtomicFile> report;  // created first: measuring may take long
  if (!arguments.report.empty()) {
    SIM_RETURN_IF_ERROR(KeepInputs(arguments.report, {&arguments.file, 1}, "--report"));
    SIM_TRY(AtomicFile file, AtomicFile::Create(arguments.report));
    report.emplace(std::move(file));
  }
  SIM_TRY(RoutingStats stats, MeasureTrace(std::move(reader), arguments.options));
  for (PhaseRouting& phase : stats.phases) {
    if (phase.gate_rows.moe_layer.empty()) continue;
    phase.gates = MeasureGates(phase.gate_rows, stats.header.moe_layers);
  }
  if (report) {
    SIM_RETURN_IF_ERROR(report->Write(RenderRoutingPage(stats)));
    SIM_RETURN_IF_ERROR(report->Commit());
  }
  return PrintToStdout(arguments.json ? RenderJson(stats) : RenderText(stats));
}

void AddStats(CLI::App& trace, int& exit_code) {
  CLI::App* command = trace.add_subcommand("stats",
                                           "Measure popularity, distinct experts, overlap, rank "
                                           "imbalance, similarity of sequences, gate "
                                           "scores and what skipping rules would keep");
  const auto arguments = std::make_shared<StatsArguments>();
  RoutingStatsOptions& options = arguments->options;
  command->add_option("file", arguments->file, "Trace to read")->required()->type_name("FILE");
  command->add_flag("--json", arguments->json, "Print one JSON object instead of tables");
  command->add_option("--report", arguments->report, "Also write plots, one self-contained file")
      ->type_name("FILE.html");
  command->add_option("--batches", options.batches, "Batch sizes in tokens, as in 4,16,64")
      ->delimiter(',')
      ->check(WholeNumber(1, kMostTokens));
  command->add_option("--ranks", options.ranks, "Expert-parallel sizes, as in 2,4,8")
      ->delimiter(',')
      ->check(WholeNumber(1, kMostTokens));
  command->add_option("--draws", options.draws, "Random batches per size (default 2000)")
      ->check(WholeNumber(1, kMostTokens));
  command->add_option("--seed", options.seed.seed, "Seed of the random batches (default 1)")
      ->check(WholeNumber(0, kMostWhole));
  command
      ->add_option("--window", options.window_tokens,
                   "Tokens between two rebalances of experts over ranks (default 1024)")
      ->check(WholeNumber(1, kMostTokens));
  command->callback([arguments, &exit_code] { exit_code = ExitCodeOf(RunStats(*arguments)); });
}

}  // namespace

void AddTraceCommand(CLI::App& app, int& exit_code) {
  CLI::App* trace =
      app.add_subcommand("trace", "Import, measure, fit or synthesise expert routing");
  trace->require_subcommand(1);
  trace->footer(
      "Examples:\n"
      "  moecast trace import response.json --model Qwen3-30B-A3B --out r.moetrace\n"
      "  moecast trace import traces/descriptions/gpt_oss_20b.yaml --data DIR --out g.moetrace\n"
      "  moecast trace stats g.moetrace --batches 4,16,64 --ranks 8 --report g.html\n"
      "  moecast trace tune r.moetrace --mean-k 4 --rule tuple\n"
      "  moecast trace fit g.moetrace --out g.twin.yaml\n"
      "  moecast trace synthesize --twin g.twin.yaml --sequences 1000 --out s.moetrace\n"
      "\n"
      "Exit codes: 0 ok; 2 bad input, and then no file is written.\n");
  AddTraceImport(*trace, exit_code);
  AddStats(*trace, exit_code);
  AddTraceTune(*trace, exit_code);
  AddTraceTwin(*trace, exit_code);
  AddTracePlacement(*trace, exit_code);
}

}  // namespace moecast
