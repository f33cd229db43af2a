// moecast_kernels: checks every kernel against its reference, then measures suites.
//   moecast_kernels --suite all --out DIR --data kernels/data --commit HASH
//   moecast_kernels --suite all --check        checks only
//   moecast_kernels --suite attend --check --cases 1 20
#include <cuda_runtime_api.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <stdexcept>

#include "kernels/bench/registry.h"
#include "sim/base/files.h"
#include "sim/base/text.h"

namespace moecast::kernels {
namespace {

struct Options {
  std::vector<std::string> suites;
  std::string out;
  std::string data = "kernels/data";
  std::string commit = "unknown";
  std::vector<std::string> models;
  bool check_only = false;
  std::pair<int, int> cases{CaseRange{}.first, CaseRange{}.last};
  bool force = false;
  uint64_t seed = 0;  // 0: a fresh one
};

void OrThrow(const Status& status) {
  if (!status.ok()) throw std::runtime_error(ToString(status.errors()));
}
template <class T>
T OrThrow(Result<T> result) {
  if (!result.ok()) throw std::runtime_error(ToString(result.errors()));
  return std::move(result).value();
}

void RunCheck(const NamedSuite& suite, uint64_t seed, const CaseRange& cases,
              const Stream& stream) {
  const ReportLine report = [&](const std::string& line) {
    std::fprintf(stderr, "  %s: %s\n", suite.name.c_str(), line.c_str());
  };
  if (const auto* const check = std::get_if<CheckOfCases>(&suite.check))
    return (*check)(seed, cases, stream, report);
  if (!cases.IsAll())
    throw std::runtime_error("--cases: the check of " + suite.name + " runs whole");
  std::get<Check>(suite.check)(seed, stream, report);
}

// Each check that the wanted suites name, once.
void RunChecks(const std::vector<NamedSuite>& suites, uint64_t seed, const CaseRange& cases,
               const Stream& stream) {
  std::fprintf(stderr, "checks with seed %llu\n", static_cast<unsigned long long>(seed));
  std::vector<AnyCheck> done{std::monostate{}};
  for (const NamedSuite& suite : suites) {
    if (std::find(done.begin(), done.end(), suite.check) != done.end()) continue;
    done.push_back(suite.check);
    RunCheck(suite, seed, cases, stream);
  }
}

std::vector<ModelShape> WantedModels(const Options& options) {
  const std::vector<ModelShape> all =
      OrThrow(ReadModelShapes(std::filesystem::path(options.data) / "models.csv"));
  if (options.models.empty()) return all;
  std::vector<std::string> names;
  for (const ModelShape& model : all) names.push_back(model.name);
  std::vector<ModelShape> wanted;
  for (const std::string& name : options.models) {
    const auto found = std::find(names.begin(), names.end(), name);
    if (found == names.end())
      throw std::runtime_error("--model " + name + ": no such shape" + DidYouMean(name, names));
    wanted.push_back(all[static_cast<size_t>(found - names.begin())]);
  }
  return wanted;
}

std::string SuiteNames() {
  std::string names;
  for (const NamedSuite& suite : AllSuites()) names += ", " + suite.name;
  return names;
}

std::vector<NamedSuite> WantedSuites(const Options& options) {
  std::vector<std::string> names{"all"};
  for (const NamedSuite& suite : AllSuites()) names.push_back(suite.name);
  std::vector<NamedSuite> wanted;
  for (const std::string& name : options.suites) {
    if (std::find(names.begin(), names.end(), name) == names.end())
      throw std::runtime_error("--suite " + name + ": no such suite" + DidYouMean(name, names));
    for (const NamedSuite& suite : AllSuites()) {
      if (name == "all" || name == suite.name) wanted.push_back(suite);
    }
  }
  return wanted;
}

void RunSuite(const NamedSuite& suite, const SuiteContext& context,
              const std::filesystem::path& file) {
  const auto start = std::chrono::steady_clock::now();
  std::fprintf(stderr, "%s\n", suite.name.c_str());
  std::visit(
      [&](const auto run) {
        const auto rows = run(context);
        const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
        std::filesystem::path samples = file;
        OrThrow(WriteFileAtomically(samples.replace_extension("samples.csv"), SamplesToCsv(rows)));
        OrThrow(WriteFileAtomically(file, ToCsv(rows)));
        std::fprintf(stderr, "%s: %zu rows in %.1f s\n", suite.name.c_str(), rows.size(),
                     took.count());
      },
      suite.run);
}

// A finished suite has its file: files are written whole. Another card's folder is refused. A suite
// that fails leaves the others to be measured.
void RunSuites(const Options& options, const std::vector<NamedSuite>& suites,
               const SuiteContext& context) {
  const std::filesystem::path folder(options.out);
  std::filesystem::create_directories(folder);
  const std::string environment =
      ToYaml(context.environment, context.peak, context.bench.clocks, options.commit);
  if (std::filesystem::exists(folder / "environment.yaml")) {
    if (OrThrow(ReadFile(folder / "environment.yaml")) != environment)
      throw std::runtime_error(options.out + " holds measurements of another environment");
  } else {
    OrThrow(WriteFileAtomically(folder / "environment.yaml", environment));
  }
  size_t failed = 0;
  for (const NamedSuite& suite : suites) {
    const std::filesystem::path file = folder / (suite.name + ".csv");
    if (!options.force && std::filesystem::exists(file)) {
      std::fprintf(stderr, "%s is complete; --force measures it again\n", file.c_str());
      continue;
    }
    try {
      RunSuite(suite, context, file);
    } catch (const std::exception& error) {
      std::fprintf(stderr, "%s: %s\n", suite.name.c_str(), error.what());
      ++failed;
    }
  }
  if (failed > 0) throw std::runtime_error(std::to_string(failed) + " suites failed");
}

// Thrown where no device answers: the caller may want to skip rather than fail.
struct NoDevice : std::runtime_error {
  using std::runtime_error::runtime_error;
};

void RequireDevice() {
  int devices = 0;
  const cudaError_t status = cudaGetDeviceCount(&devices);
  if (status != cudaSuccess || devices == 0)
    throw NoDevice(std::string("no GPU: ") + cudaGetErrorString(status));
}

void Run(const Options& options) {
  const std::vector<NamedSuite> suites = WantedSuites(options);
  RequireDevice();
  const Stream stream;
  const Environment environment = ReadEnvironment();
  const auto now = std::chrono::system_clock::now().time_since_epoch().count();
  RunChecks(suites, options.seed != 0 ? options.seed : static_cast<uint64_t>(now),
            {options.cases.first, options.cases.second}, stream);
  if (options.check_only) return;
  const ClockMonitor clocks(environment.pci_bus_id);
  if (!clocks.available())
    std::fprintf(stderr, "NVML is not available: throttled samples cannot be told apart\n");
  const ClockProbe probe;
  const SuiteContext context{
      .bench = {.stream = stream, .clocks = clocks, .probe = probe, .rule = {}},
      .environment = environment,
      .peak = OrThrow(
          ReadCardPeak(std::filesystem::path(options.data) / "cards.csv", environment.device_name)),
      .models = WantedModels(options),
      .attention =
          OrThrow(ReadAttentionShapes(std::filesystem::path(options.data) / "attention.csv")),
      .projections = OrThrow(ReadProjections(std::filesystem::path(options.data) / "dense.csv")),
      .kv_schemes = OrThrow(ReadKvSchemes(std::filesystem::path(options.data) / "kv_schemes.csv")),
      .kv_accuracy =
          OrThrow(ReadKvAccuracy(std::filesystem::path(options.data) / "kv_accuracy.csv"))};
  RunSuites(options, suites, context);
}

}  // namespace
}  // namespace moecast::kernels

// 0 done, 1 failed, 2 called wrongly, 77 no GPU here.
int main(int argc, char** argv) {
  constexpr int kNoDeviceExit = 77;
  moecast::kernels::Options options;
  CLI::App app("Checks the kernels against their references, then measures suites");
  app.add_option("--suite", options.suites, "all" + moecast::kernels::SuiteNames())->required();
  auto* const out = app.add_option("--out", options.out, "folder of the measurement files");
  auto* const check =
      app.add_flag("--check", options.check_only, "check only: small shapes, no timing");
  app.add_option("--model", options.models, "shapes of models.csv, instead of all");
  app.add_option("--data", options.data, "folder of models.csv and cards.csv");
  app.add_option("--commit", options.commit, "what was built, for environment.yaml");
  app.add_option("--seed", options.seed, "of the checks' data; 0 draws a fresh one");
  out->excludes(check);
  app.add_option("--cases", options.cases, "FIRST LAST: these cases of the check only, from 1")
      ->needs(check)
      ->check(CLI::Range(1, moecast::kernels::CaseRange{}.last));
  app.add_flag("--force", options.force, "measure suites again whose file is there");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  if (options.cases.first > options.cases.second) {
    std::fprintf(stderr, "--cases %d %d: FIRST comes after LAST\n", options.cases.first,
                 options.cases.second);
    return 2;
  }
  if (!options.check_only && options.out.empty()) {
    std::fprintf(stderr, "--out is required unless --check is given\n");
    return 2;
  }
  try {
    moecast::kernels::Run(options);
    return 0;
  } catch (const moecast::kernels::NoDevice& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return kNoDeviceExit;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
