#include "sim/app/calibrate_sources.h"

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <set>
#include <thread>

#include "calibration/import/aic.h"
#include "calibration/import/llmservingsim.h"
#include "calibration/import/moe_cap.h"
#include "calibration/import/vidur.h"
#include "calibration/serving/fit_serving.h"
#include "scenarios/catalog.h"
#include "scenarios/scenario_codec.h"
#include "sim/app/argument_checks.h"
#include "sim/app/commands.h"
#include "sim/app/scenario_arguments.h"
#include "sim/base/comma_list.h"
#include "sim/base/files.h"
#include "sim/base/text.h"

namespace moecast {
namespace {

namespace fs = std::filesystem;
using calibration::Imported;

/// ERRORS: the catalog has no such entry; `option` named it.
Status CheckEntry(Catalog& catalog, const std::string& kind, const std::string& name,
                  const char* option) {
  const Result<YamlNode> entry = catalog.Find(kind, name);
  if (entry.ok()) return Ok();
  Error error = entry.errors().front();
  if (error.where.empty()) error.where = option;
  return error;
}

/// Catalog entries reach code through a scenario; this one only names them.
Result<Scenario> EntriesOf(const CalibrateSources& sources) {
  if (sources.gpu.empty()) {
    return Error{"tables need the GPU they were measured on, as the catalog names it", "--gpu"};
  }
  if (!sources.llmservingsim.empty() && sources.model.empty()) {
    return Error{"LLMServingSim's profiles need the profiled model, as the catalog names it",
                 "--model"};
  }
  SIM_TRY(const fs::path folder, FindCatalog(sources.catalog));
  Catalog catalog(folder);
  SIM_RETURN_IF_ERROR(CheckEntry(catalog, "gpus", sources.gpu, "--gpu"));
  if (!sources.model.empty()) {
    SIM_RETURN_IF_ERROR(CheckEntry(catalog, "models", sources.model, "--model"));
  }
  constexpr const char* kAnyModel = "Qwen3-30B-A3B";
  const std::string text =
      "name: calibrate\nmodel: " + (sources.model.empty() ? kAnyModel : sources.model) +
      "\ncluster: {gpu: " + sources.gpu +
      "}\nworkload: {synthetic: {arrivals: {closed_loop: {concurrency: 1}}, input: {fixed: "
      "{tokens: 1}}, output: {fixed: {tokens: 1}}}, stop: {requests: 1}}\nrouting: uniform\n";
  SIM_TRY(Study study, ParseStudy(text, "--gpu or --model", {}, folder));
  return std::move(study.cases.front().scenario);
}

/// "h200_sxm" of "H200-SXM".
std::string CardOf(std::string gpu) {
  for (char& c : gpu) c = c == '-' ? '_' : static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  return gpu;
}

void Append(Imported& all, Imported more) {
  std::move(more.rows.begin(), more.rows.end(), std::back_inserter(all.rows));
  std::move(more.files.begin(), more.files.end(), std::back_inserter(all.files));
  std::move(more.refused.begin(), more.refused.end(), std::back_inserter(all.refused));
}

using FileReader = Result<Imported> (*)(std::string, const std::string&,
                                        const calibration::ImportTarget&);

Status AppendFiles(const std::vector<std::string>& files, FileReader reader,
                   const calibration::ImportTarget& target, Imported& all) {
  for (const std::string& file : files) {
    SIM_TRY(std::string bytes, ReadFile(file));
    SIM_TRY(Imported one, reader(std::move(bytes), file, target));
    Append(all, std::move(one));
  }
  return Ok();
}

Result<Imported> ReadTables(const CalibrateSources& sources, const Scenario& entries,
                            const calibration::ImportTarget& target) {
  Imported all;
  if (!sources.aic.empty()) {
    SIM_TRY(Imported tables, calibration::ImportAic(sources.aic, target));
    Append(all, std::move(tables));
  }
  if (!sources.llmservingsim.empty()) {
    SIM_TRY(Imported tables,
            calibration::ImportLlmServingSim(sources.llmservingsim, entries.model, target));
    Append(all, std::move(tables));
  }
  SIM_RETURN_IF_ERROR(AppendFiles(sources.vidur, calibration::ImportVidur, target, all));
  SIM_RETURN_IF_ERROR(AppendFiles(sources.moe_cap, calibration::ImportMoeCap, target, all));
  return all;
}

/// Keeps the rows of the named ops, with the files they came from. ERRORS: an op that no row has.
Status KeepOps(const std::vector<std::string>& ops, Imported& imported) {
  if (ops.empty()) return Ok();
  const auto is_kept = [&](const std::string& op) {
    return std::find(ops.begin(), ops.end(), op) != ops.end();
  };
  std::set<std::string> known;
  for (const calibration::KernelRow& row : imported.rows) known.insert(row.op);
  for (const std::string& op : ops) {
    if (known.contains(op)) continue;
    const std::vector<std::string> names(known.begin(), known.end());
    return Error{
        "no row of kernel '" + op + "'; there are " + CommaList(names) + DidYouMean(op, names),
        "--ops"};
  }
  std::erase_if(imported.rows, [&](const auto& row) { return !is_kept(row.op); });
  std::erase_if(imported.refused, [&](const auto& row) {
    return !is_kept(row.kernel.substr(0, row.kernel.find(' ')));
  });
  std::erase_if(imported.files, [&](calibration::FileImport& file) {
    file.kept = std::count_if(imported.rows.begin(), imported.rows.end(),
                              [&](const auto& row) { return row.source.file == file.file; });
    return file.kept == 0;
  });
  return Ok();
}

}  // namespace

void AddSourceOptions(CLI::App& command, CalibrateSources& s) {
  const char* tables = "Tables of other tools";
  command.add_option("--aic", s.aic, "aiconfigurator tables, at any depth")
      ->type_name("DIR")
      ->group(tables);
  command
      .add_option("--llmservingsim", s.llmservingsim, "Folder with LLMServingSim's tpN profiles")
      ->type_name("DIR")
      ->group(tables);
  command.add_option("--vidur", s.vidur, "vidur's mlp.csv, attention.csv, all_reduce.csv")
      ->type_name("FILE")
      ->group(tables);
  command.add_option("--moe-cap", s.moe_cap, "MoE-CAP's expert_distribution_record.jsonl")
      ->type_name("FILE")
      ->group(tables);
  command.add_option("--engine", s.engine, "Engine of the tables, NAME-VERSION: vllm-0.24.0")
      ->group(tables);
  command.add_option("--gpu", s.gpu, "Catalog name of the GPU of the tables")->group(tables);
  command.add_option("--model", s.model, "Catalog name of the model that LLMServingSim profiled")
      ->group(tables);
  command.add_option("--ops", s.ops, "Kernels to fit, separated by commas; default: all")
      ->delimiter(',')
      ->group(tables);
  const char* serving = "Measured serving points";
  command
      .add_option("--fit-serving", s.fit_serving,
                  "Points: vllm bench, SGLang, aiperf, InferenceX, or CSV")
      ->type_name("FILE")
      ->group(serving);
  command.add_option("--scenario", s.scenario, "Scenario the points were measured on")
      ->type_name("FILE")
      ->group(serving);
  command.add_option("--set", s.overrides, "Override one field of that scenario")
      ->type_name("PATH=VALUE")
      ->group(serving);
  command
      .add_option("--fit", s.parameters,
                  "Parameters to fit, separated by commas; default: as many as points allow")
      ->delimiter(',')
      ->group(serving);
  command.add_option("--catalog", s.catalog, "Folder of models, GPUs and fabrics")
      ->type_name("DIR");
  command.add_option("--threads", s.threads, "Simulations at a time (default: all cores)")
      ->check(WholeNumber(1, kMostThreads))
      ->group(serving);
}

Result<calibration::Measurements> ImportTables(const CalibrateSources& sources) {
  SIM_TRY(const Scenario entries, EntriesOf(sources));
  const calibration::ImportTarget target{.gpu = CardOf(sources.gpu),
                                         .engine = sources.engine,
                                         .device = entries.device,
                                         .expert_tile_rows = entries.efficiencies.expert_tile_rows};
  SIM_TRY(Imported imported, ReadTables(sources, entries, target));
  std::fputs(calibration::Describe(imported).c_str(), stderr);
  SIM_RETURN_IF_ERROR(KeepOps(sources.ops, imported));
  calibration::Measurements measurements;
  measurements.card = {.gpu = target.gpu,
                       .hbm_bytes_per_s = entries.device.hbm_bandwidth.count(),
                       .bf16_flop_per_s = entries.device.peak_of(ComputeClass::kBf16).count(),
                       .fp8_flop_per_s = entries.device.peak_of(ComputeClass::kFp8).count(),
                       .multiprocessors = static_cast<double>(entries.device.multiprocessors),
                       .cache_bytes = entries.device.l2_capacity.count()};
  measurements.engine = sources.engine;
  measurements.rows = std::move(imported.rows);
  measurements.refused = std::move(imported.refused);
  for (const calibration::FileImport& file : imported.files) {
    SIM_TRY(const std::string sha256, Sha256OfFile(file.file));
    measurements.files.push_back({.file = fs::path(file.file).filename().string(),
                                  .sha256 = sha256,
                                  .rows = file.kept,
                                  .refused = file.rows - file.kept});
    for (const std::string& column : file.ignored_columns) {
      measurements.ignored_columns.push_back(column);
    }
  }
  std::vector<std::string>& ignored = measurements.ignored_columns;
  std::sort(ignored.begin(), ignored.end());
  ignored.erase(std::unique(ignored.begin(), ignored.end()), ignored.end());
  return measurements;
}

Status FitServingPoints(const CalibrateSources& sources, const std::string& out) {
  if (sources.scenario.empty()) {
    return Error{"points need the scenario they were measured on", "--scenario"};
  }
  std::vector<serving::ServingPoint> points;
  for (const std::string& file : sources.fit_serving) {
    SIM_TRY(std::vector<serving::ServingPoint> more, serving::ReadServingPoints(file));
    std::move(more.begin(), more.end(), std::back_inserter(points));
  }
  SIM_TRY(const std::vector<serving::Parameter> parameters,
          serving::ParametersNamed(sources.parameters));
  SIM_TRY(const fs::path catalog, FindCatalog(sources.catalog));
  const int threads =
      sources.threads > 0 ? sources.threads : static_cast<int>(std::thread::hardware_concurrency());
  SIM_TRY(const serving::PointRunner runner,
          serving::PointRunner::Make({.file = sources.scenario,
                                      .overrides = sources.overrides,
                                      .catalog = catalog,
                                      .threads = threads},
                                     points));
  SIM_TRY(const serving::ServingFit fit, parameters.empty()
                                             ? serving::FitServing(runner, points)
                                             : serving::FitServing(runner, points, parameters));
  const std::string name = fs::path(out).stem().string();
  SIM_RETURN_IF_ERROR(WriteFileAtomically(out, serving::OverlayYaml(name, points, fit)));
  return PrintToStdout(serving::DescribeFit(points, fit) + "\n" + out +
                       ": name it in a scenario as `cost: {efficiencies: " + name +
                       "}` once it lies in the catalog's efficiencies folder\n");
}

}  // namespace moecast
