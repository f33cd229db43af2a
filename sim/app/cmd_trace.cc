// `moecast trace`: import, measure and synthesise expert-routing traces.
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "sim/app/commands.h"
#include "sim/app/scenario_arguments.h"
#include "traces/routing_import.h"
#include "traces/routing_reader.h"
#include "traces/routing_stats.h"
#include "traces/routing_stats_report.h"
#include "traces/routing_synthesis.h"
#include "traces/routing_synthesis_spec.h"
#include "traces/routing_writer.h"

namespace moecast {
namespace {

constexpr int64_t kMostTokens = int64_t{1} << 30;  // of a batch; draws alike

int ExitCodeOf(const Status& status) { return status.ok() ? kExitOk : FailWith(status.errors()); }

/// One line on the terminal that is rewritten; nothing when stderr is a file.
ImportProgress ProgressLine() {
  if (isatty(STDERR_FILENO) == 0) return {};
  return [shown = int64_t{-1}](int64_t done, int64_t all) mutable {
    const int64_t percent = all == 0 ? 100 : done * 100 / all;
    if (percent == std::exchange(shown, percent)) return;
    std::fprintf(stderr, "\r%lld %% of %lld tokens%s", static_cast<long long>(percent),
                 static_cast<long long>(all), done == all ? "\n" : "");
  };
}

struct ImportArguments {
  std::string description;
  std::string data;
  std::string out;
  std::vector<std::string> drop;
};

Result<std::vector<std::pair<std::string, std::string>>> ParseDrops(
    const std::vector<std::string>& texts) {
  std::vector<std::pair<std::string, std::string>> drops;
  for (const std::string& text : texts) {
    const size_t equals = text.find('=');
    if (equals == 0 || equals == std::string::npos) {
      return Error{"expected COLUMN=VALUE, as in has_repetition=1", "--drop " + text};
    }
    drops.emplace_back(text.substr(0, equals), text.substr(equals + 1));
  }
  return drops;
}

Status RunImport(const ImportArguments& arguments) {
  RoutingImportOptions options;
  options.data = arguments.data;
  SIM_TRY(options.drop, ParseDrops(arguments.drop));
  SIM_TRY(const RoutingImport import, LoadRoutingImport(arguments.description, options));
  SIM_TRY(const RoutingImportNotes notes, ImportRouting(import, arguments.out, ProgressLine()));
  std::string text = arguments.out + ": " + std::to_string(notes.sequences) + " sequences, " +
                     std::to_string(notes.tokens) + " tokens, " +
                     std::to_string(notes.unknown_rows) + " unknown (token, layer) rows";
  if (notes.dropped_sequences > 0) {
    text += "; left out by --drop: " + std::to_string(notes.dropped_sequences) + " sequences, " +
            std::to_string(notes.dropped_tokens) + " tokens";
  }
  return PrintToStdout(text + "\n");
}

void AddImport(CLI::App& trace, int& exit_code) {
  CLI::App* command =
      trace.add_subcommand("import", "Turn raw arrays of expert ids and scores into a trace");
  const auto arguments = std::make_shared<ImportArguments>();
  command
      ->add_option("description", arguments->description,
                   "YAML file that describes the arrays; traces/descriptions has examples")
      ->required()
      ->type_name("DESCRIPTION");
  command
      ->add_option("--data", arguments->data, "Folder of the arrays (default: the description's)")
      ->type_name("DIR");
  command->add_option("--out", arguments->out, "Trace to write")->required()->type_name("FILE");
  command
      ->add_option("--drop", arguments->drop,
                   "Leave out sequences whose CSV column has this value; may be repeated")
      ->type_name("COLUMN=VALUE")
      ->allow_extra_args(false);
  command->callback([arguments, &exit_code] { exit_code = ExitCodeOf(RunImport(*arguments)); });
}

struct StatsArguments {
  std::string file;
  bool json = false;
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
  SIM_TRY(const RoutingStats stats, MeasureTrace(std::move(reader), arguments.options));
  return PrintToStdout(arguments.json ? RenderJson(stats) : RenderText(stats));
}

void AddStats(CLI::App& trace, int& exit_code) {
  CLI::App* command = trace.add_subcommand(
      "stats", "Measure popularity, distinct experts, overlap and rank imbalance of a trace");
  const auto arguments = std::make_shared<StatsArguments>();
  RoutingStatsOptions& options = arguments->options;
  command->add_option("file", arguments->file, "Trace to read")->required()->type_name("FILE");
  command->add_flag("--json", arguments->json, "Print one JSON object instead of tables");
  command->add_option("--batches", options.batches, "Batch sizes in tokens, as in 4,16,64")
      ->delimiter(',')
      ->check(CLI::Range(int64_t{1}, kMostTokens));
  command->add_option("--ranks", options.ranks, "Expert-parallel sizes, as in 2,4,8")
      ->delimiter(',')
      ->check(CLI::Range(int64_t{1}, kMostTokens));
  command->add_option("--draws", options.draws, "Random batches per size (default 2000)")
      ->check(CLI::Range(int64_t{1}, kMostTokens));
  command->add_option("--seed", options.seed.seed, "Seed of the random batches (default 1)");
  command->callback([arguments, &exit_code] { exit_code = ExitCodeOf(RunStats(*arguments)); });
}

struct SynthesizeArguments {
  std::string description;
  std::string out;
};

Status RunSynthesize(const SynthesizeArguments& arguments) {
  SIM_TRY(const SyntheticTrace trace, LoadSyntheticTrace(arguments.description));
  RoutingSynthesiser synthesiser(trace.routing, trace.header, Seed{trace.seed});
  SIM_TRY(RoutingWriter writer, RoutingWriter::Create(arguments.out, trace.header));
  const ImportProgress progress = ProgressLine();
  const int64_t all =
      trace.routing.sequences * (trace.routing.prefill_tokens + trace.routing.decode_tokens);
  int64_t done = 0;
  RoutingChunk chunk;
  while (synthesiser.Next(chunk)) {
    SIM_RETURN_IF_ERROR(writer.Add(chunk));
    writer.Describe(chunk.sequence, {.request_id = std::to_string(chunk.sequence.value()),
                                     .category = "topic " + std::to_string(synthesiser.topic())});
    done += chunk.tokens;
    if (progress) progress(done, all);
  }
  SIM_RETURN_IF_ERROR(writer.Commit());
  return PrintToStdout(arguments.out + ": " + std::to_string(trace.routing.sequences) +
                       " sequences, " + std::to_string(all) + " tokens, seed " +
                       std::to_string(trace.seed) + "\n");
}

void AddSynthesize(CLI::App& trace, int& exit_code) {
  CLI::App* command = trace.add_subcommand("synthesize", "Generate a trace with given statistics");
  const auto arguments = std::make_shared<SynthesizeArguments>();
  command
      ->add_option("description", arguments->description,
                   "YAML file with the model's shape and the statistics; traces/descriptions has "
                   "examples")
      ->required()
      ->type_name("DESCRIPTION");
  command->add_option("--out", arguments->out, "Trace to write")->required()->type_name("FILE");
  command->callback([arguments, &exit_code] { exit_code = ExitCodeOf(RunSynthesize(*arguments)); });
}

}  // namespace

void AddTraceCommand(CLI::App& app, int& exit_code) {
  CLI::App* trace = app.add_subcommand("trace", "Import, measure or synthesise expert routing");
  trace->require_subcommand(1);
  trace->footer(
      "Examples:\n"
      "  moecast trace import traces/descriptions/gpt_oss_20b.yaml --data DIR --out g.moetrace\n"
      "  moecast trace stats g.moetrace --batches 4,16,64 --ranks 8\n"
      "  moecast trace synthesize traces/descriptions/synthetic_gpt_oss_20b.yaml --out s.moetrace\n"
      "\n"
      "Exit codes: 0 ok; 2 bad input, and then no file is written.\n");
  AddImport(*trace, exit_code);
  AddStats(*trace, exit_code);
  AddSynthesize(*trace, exit_code);
}

}  // namespace moecast
