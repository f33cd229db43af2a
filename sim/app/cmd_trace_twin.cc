#include "sim/app/cmd_trace_twin.h"

#include <array>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "sim/app/argument_checks.h"
#include "sim/app/cmd_trace_import.h"
#include "sim/app/commands.h"
#include "sim/app/scenario_arguments.h"
#include "sim/base/files.h"
#include "sim/base/text.h"
#include "traces/routing_reader.h"
#include "traces/routing_synthesis.h"
#include "traces/routing_synthesis_spec.h"
#include "traces/routing_writer.h"
#include "traces/twin/fit_report.h"
#include "traces/twin/parametric_twin.h"
#include "traces/twin/twin_fit.h"
#include "traces/twin/twin_scale.h"
#include "traces/twin/twin_yaml.h"

namespace moecast {
namespace {

int ExitCodeOf(const Status& status) { return status.ok() ? kExitOk : FailWith(status.errors()); }

struct FitArguments {
  std::vector<std::string> traces;
  std::string out;
  FitReadOptions read;
  TwinFitOptions fit;
};

Status RunFit(const FitArguments& arguments) {
  SIM_RETURN_IF_ERROR(KeepInputs(arguments.out, arguments.traces));
  const std::vector<std::filesystem::path> paths(arguments.traces.begin(), arguments.traces.end());
  SIM_TRY(const FitInput input, ReadFitInput(paths, arguments.read));
  const TwinFit fit = FitTwin(input, arguments.fit);
  SIM_RETURN_IF_ERROR(WriteFileAtomically(arguments.out, TwinYaml(fit.twin)));
  return PrintToStdout(arguments.out + "\n" + RenderFit(input, fit));
}

void AddFit(CLI::App& trace, int& exit_code) {
  CLI::App* command = trace.add_subcommand("fit", "Fit a statistical twin to traces of one model");
  const auto arguments = std::make_shared<FitArguments>();
  command->add_option("traces", arguments->traces, "Traces to fit to")
      ->required()
      ->type_name("TRACE");
  command->add_option("--out", arguments->out, "Twin to write")->required()->type_name("TWIN.yaml");
  command->add_flag("--one-domain", arguments->read.one_domain,
                    "Do not tell the categories of sequences apart");
  command->add_option("--seed", arguments->fit.seed.seed, "Seed of the draws (default 1)")
      ->check(WholeNumber(0, kMostWhole));
  command->callback([arguments, &exit_code] { exit_code = ExitCodeOf(RunFit(*arguments)); });
}

struct SynthesizeArguments {
  std::string description;
  std::string twin;
  std::string out;
  std::optional<uint64_t> seed;
  std::vector<std::string> domains;
  TwinChanges changes;
};

Result<std::vector<std::pair<std::string, double>>> ParseDomains(
    const std::vector<std::string>& texts) {
  constexpr double kMostShare = 1e6;
  std::vector<std::pair<std::string, double>> domains;
  for (const std::string& text : texts) {
    const size_t equals = text.rfind('=');
    double share = -1;
    if (equals != std::string::npos && equals > 0) {
      CLI::detail::lexical_cast(text.substr(equals + 1), share);
    }
    if (!(share >= 0 && share <= kMostShare)) {
      return Error{"expected NAME=SHARE with a share from 0 to " + ShortestDouble(kMostShare) +
                       ", as in code=0.8",
                   "--domain " + text};
    }
    domains.emplace_back(text.substr(0, equals), share);
  }
  return domains;
}

/// The twin, and the seed that its source asks for.
struct Chosen {
  RoutingTwin twin;
  uint64_t seed = 1;
};

Result<Chosen> ChooseTwin(const SynthesizeArguments& arguments) {
  if (arguments.description.empty() == arguments.twin.empty()) {
    return Error{"give either a description of the statistics or --twin TWIN.yaml",
                 "moecast trace synthesize"};
  }
  if (arguments.twin.empty()) {
    SIM_TRY(SyntheticTrace trace, LoadSyntheticTrace(arguments.description));
    const uint64_t seed = arguments.seed.value_or(trace.seed);
    return Chosen{TwinFromParameters(trace.routing, trace.header, Seed{seed}), seed};
  }
  SIM_TRY(RoutingTwin twin, LoadTwin(arguments.twin));
  twin.header.source = "moecast twin of " + twin.header.source;
  return Chosen{std::move(twin), arguments.seed.value_or(1)};
}

Status RunSynthesize(SynthesizeArguments arguments) {
  const std::array inputs{arguments.description, arguments.twin};
  SIM_RETURN_IF_ERROR(KeepInputs(arguments.out, inputs));
  SIM_TRY(arguments.changes.domains, ParseDomains(arguments.domains));
  SIM_TRY(Chosen chosen, ChooseTwin(arguments));
  SIM_TRY(RoutingTwin twin, ChangeTwin(std::move(chosen.twin), arguments.changes));
  const int64_t sequences = twin.sequences;
  RoutingSynthesiser synthesiser(std::move(twin), Seed{.seed = chosen.seed, .replication = 0});
  SIM_TRY(RoutingWriter writer, RoutingWriter::Create(arguments.out, synthesiser.header()));
  const ImportProgress progress = ProgressLine();
  int64_t tokens = 0;
  RoutingChunk chunk;
  while (synthesiser.Next(chunk)) {
    SIM_RETURN_IF_ERROR(writer.Add(chunk));
    writer.Describe(chunk.sequence, {.request_id = std::to_string(chunk.sequence.value()),
                                     .category = synthesiser.category()});
    tokens += chunk.tokens;
    if (progress) progress(static_cast<int64_t>(chunk.sequence.value()) + 1, sequences);
  }
  SIM_RETURN_IF_ERROR(writer.Commit());
  return PrintToStdout(arguments.out + ": " + std::to_string(sequences) + " sequences, " +
                       std::to_string(tokens) + " tokens, seed " + std::to_string(chosen.seed) +
                       "\n");
}

void AddSynthesize(CLI::App& trace, int& exit_code) {
  CLI::App* command =
      trace.add_subcommand("synthesize", "Generate a trace from a twin or from few parameters");
  const auto arguments = std::make_shared<SynthesizeArguments>();
  TwinChanges& changes = arguments->changes;
  command
      ->add_option("description", arguments->description,
                   "YAML file with the model's shape and a few parameters, as in "
                   "traces/descriptions/synthetic_deepseek_v2_lite.yaml")
      ->type_name("DESCRIPTION");
  command->add_option("--twin", arguments->twin, "Twin to draw from")->type_name("TWIN.yaml");
  command->add_option("--out", arguments->out, "Trace to write")->required()->type_name("FILE");
  command->add_option("--seed", arguments->seed, "Seed of the draws")
      ->check(WholeNumber(0, kMostWhole));
  command->add_option("--sequences", changes.sequences, "Sequences to draw");
  command->add_option("--prefill-tokens", changes.prefill_tokens, "Of every sequence");
  command->add_option("--decode-tokens", changes.decode_tokens, "Of every sequence");
  command->add_option("--experts", changes.experts, "Experts of another model");
  command->add_option("--top-k", changes.top_k, "Experts per token of another model");
  command->add_option("--layers", changes.layers, "MoE layers of another model");
  command
      ->add_option("--domain", arguments->domains,
                   "Share of a domain, the others have none; may be repeated")
      ->type_name("NAME=SHARE")
      ->allow_extra_args(false);
  command->callback([arguments, &exit_code] { exit_code = ExitCodeOf(RunSynthesize(*arguments)); });
}

struct TakeArguments {
  std::string trace;
  std::string out;
  int64_t every = 2;
  int64_t from = 0;
};

Status RunTake(const TakeArguments& arguments) {
  SIM_RETURN_IF_ERROR(KeepInputs(arguments.out, {&arguments.trace, 1}));
  SIM_TRY(RoutingReader reader, RoutingReader::Open(arguments.trace));
  SIM_TRY(RoutingWriter writer, RoutingWriter::Create(arguments.out, reader.header()));
  std::optional<SequenceId> last;
  uint32_t sequence = 0;
  uint32_t taken = 0;
  bool take = false;
  RoutingChunk chunk;
  while (true) {
    SIM_TRY(const bool more, reader.Next(chunk));
    if (!more) break;
    if (last != chunk.sequence) {
      last = chunk.sequence;
      take = sequence++ % arguments.every == arguments.from;
      taken += take ? 1 : 0;
    }
    if (!take) continue;
    const size_t label = chunk.sequence.value();
    chunk.sequence = SequenceId(taken - 1);
    SIM_RETURN_IF_ERROR(writer.Add(chunk));
    if (label < reader.sequences().size()) {
      writer.Describe(chunk.sequence, reader.sequences()[label]);
    }
  }
  if (taken == 0) return Error{"no sequence is left", arguments.trace};
  SIM_RETURN_IF_ERROR(writer.Commit());
  return PrintToStdout(arguments.out + ": " + std::to_string(taken) + " of " +
                       std::to_string(sequence) + " sequences\n");
}

void AddTake(CLI::App& trace, int& exit_code) {
  CLI::App* command = trace.add_subcommand(
      "take", "Every n-th sequence of a trace, as one to fit to and one to judge by");
  const auto arguments = std::make_shared<TakeArguments>();
  command->add_option("trace", arguments->trace, "Trace to read")->required()->type_name("TRACE");
  command->add_option("--out", arguments->out, "Trace to write")->required()->type_name("FILE");
  command->add_option("--every", arguments->every, "n (default 2)")
      ->check(WholeNumber(1, kMaxTwinSequences));
  command->add_option("--from", arguments->from, "First sequence taken, below n (default 0)")
      ->check(WholeNumber(0, kMaxTwinSequences));
  command->callback([arguments, &exit_code] { exit_code = ExitCodeOf(RunTake(*arguments)); });
}

}  // namespace

void AddTraceTwin(CLI::App& trace, int& exit_code) {
  AddFit(trace, exit_code);
  AddSynthesize(trace, exit_code);
  AddTake(trace, exit_code);
}

}  // namespace moecast
