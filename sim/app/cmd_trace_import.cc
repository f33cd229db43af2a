#include "sim/app/cmd_trace_import.h"

#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "scenarios/import_model.h"
#include "sim/app/argument_checks.h"
#include "sim/app/commands.h"
#include "sim/app/scenario_arguments.h"
#include "sim/base/files.h"
#include "sim/base/text.h"
#include "traces/import/capture.h"
#include "traces/placement.h"

namespace moecast {
namespace {

constexpr uint64_t kMostTokens = uint64_t{1} << 24;
constexpr uint64_t kMostRanks = 4096;

int ExitCodeOf(const Status& status) { return status.ok() ? kExitOk : FailWith(status.errors()); }

/// --model: a name of the catalog, a catalog entry's file or a Hugging Face config.json.
struct ModelArguments {
  std::string model;
  std::string catalog;
};

void AddModelOptions(CLI::App& command, ModelArguments& arguments) {
  command
      .add_option("--model", arguments.model,
                  "Model that was captured: a name of the catalog, or a config.json")
      ->type_name("NAME|FILE");
  command
      .add_option("--catalog", arguments.catalog,
                  "Folder of models; default: the one moecast came with")
      ->type_name("DIR");
}

std::vector<std::string> ModelNames(const std::filesystem::path& folder) {
  std::vector<std::string> names;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
    names.push_back(entry.path().stem().string());
  }
  return names;
}

Result<CaptureModel> LoadCaptureModel(const ModelArguments& arguments) {
  if (arguments.model.empty()) return CaptureModel{};
  SIM_TRY(const std::filesystem::path catalog, FindCatalog(arguments.catalog));
  const std::filesystem::path path = arguments.model;
  if (path.extension() == ".json") {
    SIM_TRY(const ImportedModel imported, ImportModel(path, path.stem().string(), catalog));
    return ReadCaptureModel(path.string(), imported.yaml);
  }
  const bool is_file = path.extension() == ".yaml";
  const std::filesystem::path entry =
      is_file ? path : catalog / "models" / (arguments.model + ".yaml");
  if (!is_file && !std::filesystem::exists(entry)) {
    return Error{"the catalog has no model '" + arguments.model + "'" +
                     DidYouMean(arguments.model, ModelNames(catalog / "models")),
                 "--model"};
  }
  SIM_TRY(const std::string bytes, ReadFile(entry));
  return ReadCaptureModel(entry.string(), bytes);
}

struct ImportArguments {
  std::vector<std::string> inputs;
  std::string out;
  // of descriptions
  std::string data;
  std::vector<std::string> drop;
  // of captures
  ModelArguments model;
  std::string phase = "prefill";
  int64_t first_token = 0;
  std::string placement;
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

Status ImportByDescription(const ImportArguments& arguments) {
  RoutingImportOptions options;
  options.data = arguments.data;
  SIM_TRY(options.drop, ParseDrops(arguments.drop));
  SIM_TRY(const RoutingImport import, LoadRoutingImport(arguments.inputs[0], options));
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

Status ImportByContent(const ImportArguments& arguments) {
  CaptureOptions options;
  SIM_TRY(options.model, LoadCaptureModel(arguments.model));
  options.phase = arguments.phase == "decode" ? RoutingPhase::kDecode : RoutingPhase::kPrefill;
  options.first_token = arguments.first_token;
  if (!arguments.placement.empty()) {
    SIM_TRY(options.placement, ReadPlacement(arguments.placement));
  }
  const std::vector<std::filesystem::path> inputs(arguments.inputs.begin(), arguments.inputs.end());
  SIM_TRY(const CaptureReport report, ImportCapture(inputs, options, arguments.out));
  return PrintToStdout(arguments.out + "\n" + RenderText(report));
}

Status RunImport(const ImportArguments& arguments) {
  SIM_RETURN_IF_ERROR(KeepInputs(arguments.out, arguments.inputs));
  const std::filesystem::path first = arguments.inputs[0];
  const bool described =
      arguments.inputs.size() == 1 && (first.extension() == ".yaml" || first.extension() == ".yml");
  if (described) return ImportByDescription(arguments);
  if (!arguments.data.empty() || !arguments.drop.empty()) {
    return Error{"is for a description (.yaml), captures are read as they are",
                 arguments.data.empty() ? "--drop" : "--data"};
  }
  return ImportByContent(arguments);
}

struct PlacementArguments {
  std::string file;
  std::string to;
  std::string out;
  int64_t ranks = 0;
  ModelArguments model;
};

/// Keeps the MoE layers of a placement of all layers, or names those of one without names.
Status NameLayers(const CaptureModel& model, ExpertPlacement& placement) {
  if (!placement.layers.empty() || model.moe_layers.empty()) return Ok();
  auto& layers = placement.physical_to_logical;
  SIM_TRY(const LayerSelection selection,
          SelectLayers(static_cast<int64_t>(layers.size()), model, "--model"));
  std::vector<std::vector<int32_t>> kept;
  for (const int64_t row : selection.rows) kept.push_back(layers[static_cast<size_t>(row)]);
  layers = std::move(kept);
  placement.layers = selection.moe_layers;
  return Ok();
}

Status RunPlacement(const PlacementArguments& arguments) {
  SIM_RETURN_IF_ERROR(KeepInputs(arguments.out, {&arguments.file, 1}));
  SIM_TRY(ExpertPlacement placement, ReadPlacement(arguments.file));
  SIM_TRY(const CaptureModel model, LoadCaptureModel(arguments.model));
  if (arguments.ranks > 0) placement.ranks = arguments.ranks;
  const size_t slots = placement.physical_to_logical[0].size();
  if (arguments.to.empty()) {
    SIM_RETURN_IF_ERROR(CheckPlacement(placement));
    return PrintToStdout(
        arguments.file + ": " + std::to_string(placement.physical_to_logical.size()) +
        " layers of " + std::to_string(slots) + " slots" +
        (placement.ranks > 0 ? " on " + std::to_string(placement.ranks) + " ranks" : "") + "\n");
  }
  for (const PlacementFormat format :
       {PlacementFormat::kSglang, PlacementFormat::kTrtllm, PlacementFormat::kVllmAscend}) {
    if (arguments.to != Name(format)) continue;
    // SGLang lists every layer of the model; the others only MoE layers.
    if (format != PlacementFormat::kSglang) SIM_RETURN_IF_ERROR(NameLayers(model, placement));
    SIM_TRY(const std::string text, RenderPlacement(placement, format));
    if (arguments.out.empty()) return PrintToStdout(text);
    return WriteFileAtomically(arguments.out, text);
  }
  return Error{"is none of sglang, trtllm and vllm-ascend", "--to " + arguments.to};
}

}  // namespace

ImportProgress ProgressLine() {
  if (isatty(STDERR_FILENO) == 0) return {};
  return [shown = int64_t{-1}](int64_t done, int64_t all) mutable {
    const int64_t percent = all == 0 ? 100 : done * 100 / all;
    if (percent == std::exchange(shown, percent)) return;
    std::fprintf(stderr, "\r%lld %% of %lld tokens%s", static_cast<long long>(percent),
                 static_cast<long long>(all), done == all ? "\n" : "");
  };
}

void AddTraceImport(CLI::App& trace, int& exit_code) {
  CLI::App* command = trace.add_subcommand(
      "import", "Turn an engine's capture, or raw arrays with a description, into a trace");
  const auto arguments = std::make_shared<ImportArguments>();
  command
      ->add_option("inputs", arguments->inputs,
                   "Captures of one layout, told from their content; or one YAML description")
      ->required()
      ->type_name("FILE");
  command->add_option("--out", arguments->out, "File to write: a trace, or a count table (CSV)")
      ->required()
      ->type_name("FILE");
  AddModelOptions(*command, arguments->model);
  command
      ->add_option("--phase", arguments->phase,
                   "Phase of tokens whose capture does not say (default prefill)")
      ->check(OneOf({"prefill", "decode"}));
  command
      ->add_option("--first-token", arguments->first_token,
                   "Prompt tokens that the engine was asked to leave out (default 0)")
      ->check(WholeNumber(0, kMostTokens));
  command
      ->add_option("--placement", arguments->placement,
                   "Placement in force, for physical ids whose capture does not hold it")
      ->type_name("FILE");
  command
      ->add_option("--data", arguments->data,
                   "Folder of a description's arrays (default: the description's)")
      ->type_name("DIR");
  command
      ->add_option("--drop", arguments->drop,
                   "Leave out a description's sequences whose CSV column has this value")
      ->type_name("COLUMN=VALUE")
      ->allow_extra_args(false);
  command->callback([arguments, &exit_code] { exit_code = ExitCodeOf(RunImport(*arguments)); });
}

void AddTracePlacement(CLI::App& trace, int& exit_code) {
  CLI::App* command = trace.add_subcommand(
      "placement", "Check a placement of experts, or write it for another engine");
  const auto arguments = std::make_shared<PlacementArguments>();
  command
      ->add_option("file", arguments->file,
                   "Placement of SGLang, TensorRT-LLM or vllm-ascend, or SGLang's recording")
      ->required()
      ->type_name("FILE");
  command->add_option("--to", arguments->to, "sglang, trtllm or vllm-ascend")
      ->check(OneOf({"sglang", "trtllm", "vllm-ascend"}));
  command->add_option("--out", arguments->out, "File to write (default: print)")->type_name("FILE");
  command->add_option("--ranks", arguments->ranks, "Expert-parallel ranks, equal runs of slots")
      ->check(WholeNumber(1, kMostRanks));
  AddModelOptions(*command, arguments->model);
  command->callback([arguments, &exit_code] { exit_code = ExitCodeOf(RunPlacement(*arguments)); });
}

}  // namespace moecast
