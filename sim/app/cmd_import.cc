// `moecast import`: foreign descriptions become catalog entries.
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>

#include "scenarios/import_model.h"
#include "sim/app/argument_checks.h"
#include "sim/app/commands.h"
#include "sim/app/scenario_arguments.h"
#include "sim/base/files.h"

namespace moecast {
namespace {

struct ImportModelArguments {
  std::string config;
  std::string out;
  std::string catalog;
};

/// An entry is called as its file, or as the config's; "config.json" is called as its folder.
std::string EntryName(const ImportModelArguments& arguments) {
  if (!arguments.out.empty()) return std::filesystem::path(arguments.out).stem().string();
  const std::filesystem::path config = std::filesystem::absolute(arguments.config);
  return (config.stem() == "config" ? config.parent_path() : config).stem().string();
}

Status RunImportModel(const ImportModelArguments& arguments) {
  SIM_RETURN_IF_ERROR(KeepInputs(arguments.out, {&arguments.config, 1}));
  SIM_TRY(const std::filesystem::path catalog, FindCatalog(arguments.catalog));
  SIM_TRY(const ImportedModel model, ImportModel(arguments.config, EntryName(arguments), catalog));
  std::string notes;
  for (const std::string& note : model.inferred) notes += "inferred " + note + "\n";
  std::fputs(notes.c_str(), stderr);
  if (arguments.out.empty()) return PrintToStdout(model.yaml);
  return WriteFileAtomically(arguments.out, model.yaml);
}

void AddModel(CLI::App& import, int& exit_code) {
  CLI::App* command = import.add_subcommand(
      "model",
      "Turn a Hugging Face config.json into a model of the catalog, saying what it infers");
  const auto arguments = std::make_shared<ImportModelArguments>();
  command->add_option("config", arguments->config, "The model's config.json")
      ->required()
      ->type_name("FILE");
  command
      ->add_option("--out", arguments->out,
                   "File to write, as in scenarios/catalog/models/NAME.yaml (default: print)")
      ->type_name("FILE");
  command
      ->add_option("--catalog", arguments->catalog,
                   "Folder of formats the model refers to; default: the one moecast came with")
      ->type_name("DIR");
  command->footer(
      "A scenario takes the entry by its file: model: olmoe.yaml\n"
      "\n"
      "Examples:\n"
      "  moecast import model OLMoE/config.json --out olmoe.yaml\n"
      "  moecast run my.yaml --set model=olmoe.yaml\n"
      "\n"
      "Exit codes: 0 ok; 2 bad input, and then no file is written.\n");
  command->callback([arguments, &exit_code] {
    const Status status = RunImportModel(*arguments);
    exit_code = status.ok() ? kExitOk : FailWith(status.errors());
  });
}

}  // namespace

void AddImportCommand(CLI::App& app, int& exit_code) {
  CLI::App* import = app.add_subcommand("import", "Turn foreign descriptions into catalog entries");
  import->require_subcommand(1);
  AddModel(*import, exit_code);
}

}  // namespace moecast
