// `moecast calibrate`: measured kernels in, a profile and a report of its error out.
#include <algorithm>
#include <array>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "calibration/calibrate.h"
#include "calibration/profile_text.h"
#include "sim/app/calibrate_sources.h"
#include "sim/app/commands.h"
#include "sim/app/scenario_arguments.h"
#include "sim/base/files.h"
#include "sim/base/text.h"

namespace moecast {
namespace {

constexpr const char* kFooter =
    "Fits every kernel of a folder of measurements, tests each fit on points that it never saw, "
    "and\n"
    "writes a profile for `cost.profile` of a scenario. Nothing is dropped in silence: the report\n"
    "lists every row that was refused, merged or found suspect.\n"
    "\n"
    "Examples:\n"
    "  moecast calibrate --measurements calibration/measurements/h200_sxm \\\n"
    "      --out calibration/profiles/h200_sxm.yaml --report h200_sxm.md\n"
    "  moecast run scenarios/examples/01_first_forecast.yaml \\\n"
    "      --set cost.profile=calibration/profiles/h200_sxm.yaml\n"
    "  moecast calibrate --aic systems/h200_sxm --engine vllm-0.24.0 --gpu H200-SXM \\\n"
    "      --out h200-vllm-0.24.yaml\n"
    "  moecast calibrate --fit-serving bench.json --scenario mine.yaml --out my-engine.yaml\n";

constexpr double kPercent = 100;

struct CalibrateArguments {
  std::string measurements;
  std::string out;
  std::string report;
  CalibrateSources sources;
};

std::string Percent(double ratio) { return Fixed(kPercent * ratio, 1) + " %"; }

/// What the profile says nothing of; empty when it has all that was read.
std::string LeftOut(const calibration::CalibrationReport& report) {
  static constexpr size_t kNamed = 4;
  const auto list = [](const char* why, const std::vector<std::string>& names) {
    if (names.empty()) return std::string();
    std::string line;
    for (size_t i = 0; i < std::min(names.size(), kNamed); ++i) {
      line += (line.empty() ? why : ", ") + names[i];
    }
    if (names.size() > kNamed) {
      line += " and " + std::to_string(names.size() - kNamed) + " more; the report lists all";
    }
    return line + "\n";
  };
  return list("not fitted, too few rows of one shape: ", report.unfitted_kernels) +
         list("not read, measured again in a later folder: ", report.superseded);
}

std::string Summary(const calibration::Calibration& c, const std::string& out) {
  const calibration::CalibrationReport& report = c.report;
  size_t suspects = 0;
  for (const calibration::KernelReport& kernel : report.kernels) suspects += kernel.suspects.size();
  return out + ": " + std::to_string(c.profile.kernels.size()) + " kernels of " + c.profile.gpu +
         " from " + std::to_string(report.rows_read) + " rows (" +
         std::to_string(report.refused.size()) + " refused, " + std::to_string(report.merged) +
         " repeats merged, " + std::to_string(suspects) + " suspect)\n" +
         "held out: " + std::to_string(report.all.points) + " points, median error " +
         Percent(report.all.median) + ", 95th percentile " + Percent(report.all.p95) + ", bias " +
         Percent(report.all.bias) + "; inside their intervals " + Percent(report.covered80) +
         " (80 %), " + Percent(report.covered95) + " (95 %)\n" + LeftOut(report);
}

/// ERRORS: more than one source, or none.
Status CheckSources(const CalibrateArguments& arguments) {
  const int sources = (arguments.measurements.empty() ? 0 : 1) +
                      (arguments.sources.has_tables() ? 1 : 0) +
                      (arguments.sources.fit_serving.empty() ? 0 : 1);
  if (sources == 1) return Ok();
  return Error{std::string(sources == 0 ? "nothing to calibrate from" : "sources do not mix") +
                   ": give --measurements, tables (--aic, --llmservingsim, --vidur, --moe-cap) or "
                   "--fit-serving",
               ""};
}

/// ERRORS: an option that the chosen source would leave unread.
Status CheckOptions(const CLI::App& command, const CalibrateSources& sources) {
  const auto refuse = [&command](std::span<const char* const> names, const char* use) -> Status {
    for (const char* name : names) {
      if (command.count(name) > 0) return Error{std::string("is read only ") + use, name};
    }
    return Ok();
  };
  constexpr std::array kOfTables{"--engine", "--gpu", "--model", "--ops"};
  constexpr std::array kOfPoints{"--scenario", "--set", "--fit", "--threads"};
  if (!sources.has_tables()) {
    SIM_RETURN_IF_ERROR(refuse(kOfTables, "with tables of other tools"));
  }
  if (sources.fit_serving.empty()) return refuse(kOfPoints, "with --fit-serving");
  constexpr std::array kOfKernels{"--report"};
  return refuse(kOfKernels, "when kernels are fitted");
}

Status Run(const CLI::App& command, const CalibrateArguments& arguments) {
  SIM_RETURN_IF_ERROR(CheckSources(arguments));
  SIM_RETURN_IF_ERROR(CheckOptions(command, arguments.sources));
  if (!arguments.sources.fit_serving.empty()) {
    return FitServingPoints(arguments.sources, arguments.out);
  }
  // Both files are created first: fitting takes seconds, and neither appears without the other.
  SIM_TRY(AtomicFile profile, AtomicFile::Create(arguments.out));
  std::optional<AtomicFile> report;
  if (!arguments.report.empty()) {
    SIM_TRY(AtomicFile file, AtomicFile::Create(arguments.report));
    report.emplace(std::move(file));
  }
  SIM_TRY(const calibration::Measurements measurements,
          arguments.sources.has_tables() ? ImportTables(arguments.sources)
                                         : calibration::ReadMeasurements(arguments.measurements));
  const std::string name = std::filesystem::path(arguments.out).stem().string();
  SIM_TRY(const calibration::Calibration done, calibration::Calibrate(measurements, name));
  SIM_RETURN_IF_ERROR(profile.Write(calibration::ProfileYaml(done.profile)));
  if (report) {
    SIM_RETURN_IF_ERROR(report->Write(calibration::ReportMarkdown(done)));
    SIM_RETURN_IF_ERROR(report->Commit());
  }
  SIM_RETURN_IF_ERROR(profile.Commit());
  return PrintToStdout(Summary(done, arguments.out));
}

}  // namespace

void AddCalibrateCommand(CLI::App& app, int& exit_code) {
  CLI::App* command =
      app.add_subcommand("calibrate", "Fit a profile of a GPU's kernels from measurements");
  const auto arguments = std::make_shared<CalibrateArguments>();
  command
      ->add_option("--measurements", arguments->measurements,
                   "Folder of one GPU's suites: CSV files beside an environment.yaml, at any depth")
      ->type_name("DIR");
  command
      ->add_option("--out", arguments->out,
                   "Profile to write (--fit-serving: catalog entry); its name is the file's")
      ->required()
      ->type_name("FILE");
  command->add_option("--report", arguments->report, "Report to write, in Markdown")
      ->type_name("FILE");
  AddSourceOptions(*command, arguments->sources);
  command->footer(kFooter);
  command->callback([command, arguments, &exit_code] {
    const Status status = Run(*command, *arguments);
    exit_code = status.ok() ? kExitOk : FailWith(status.errors());
  });
}

}  // namespace moecast
