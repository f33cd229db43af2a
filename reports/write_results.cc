#include "reports/write_results.h"

#include <boost/json/value.hpp>
#include <string>
#include <system_error>

#include "reports/csv_files.h"
#include "reports/figures.h"
#include "reports/json_text.h"
#include "reports/result_folder.h"
#include "reports/summary_json.h"
#include "sim/base/files.h"
#include "sim/base/version.h"
#include "sim/run/case_files.h"

namespace moecast {
namespace {

/// The resolved scenario, runnable as it stands, with the hash of every file it was made from.
std::string ScenarioText(const Study& study) {
  std::string text(ResultFolder::kMarker);
  text += ": the scenario as it ran, every default and catalog entry written out\n";
  text += "# moecast " + std::string(Version()) + ", commit " + std::string(GitCommit()) + "\n";
  for (const InputFile& input : study.inputs) {
    text += "# input sha256 " + input.sha256 + "  " + input.path.filename().string() + "\n";
  }
  return text + study.resolved_yaml;
}

Status WriteCase(const Study& study, const StudyResult& result, const CaseFigures& figures,
                 const std::filesystem::path& folder) {
  std::error_code code;
  std::filesystem::create_directories(folder, code);
  if (code) return Error{"cannot create the folder: " + code.message(), folder.string()};
  const Scenario& scenario = study.cases[figures.case_index].scenario;
  const CaseResult& cell = result.cases[figures.case_index];
  SIM_RETURN_IF_ERROR(WriteFileAtomically(folder / "summary.json",
                                          PrettyJson(CaseSummaryJson(study, result, figures))));
  for (size_t r = 0; r < cell.replications.size(); ++r) {
    SIM_RETURN_IF_ERROR(WriteFileAtomically(
        folder / ReplicationFile("timeseries", scenario, static_cast<uint32_t>(r)),
        TimeSeriesCsv(cell.replications[r].samples)));
  }
  const std::string experts = ExpertsCsv(scenario, cell);
  return experts.empty() ? Ok() : WriteFileAtomically(folder / "experts.csv", experts);
}

}  // namespace

Status WriteResults(const Study& study, const StudyResult& result,
                    const std::filesystem::path& folder) {
  SIM_RETURN_IF_ERROR(WriteFileAtomically(folder / "scenario.yaml", ScenarioText(study)));
  SIM_RETURN_IF_ERROR(WriteFileAtomically(folder / "table.csv", TableCsv(study, result)));
  SIM_RETURN_IF_ERROR(
      WriteFileAtomically(folder / "study.json", PrettyJson(StudySummaryJson(study, result))));
  for (const CaseFigures& figures : EstimateFigures(study, result)) {
    SIM_RETURN_IF_ERROR(
        WriteCase(study, result, figures, folder / CaseFolder(study, figures.case_index)));
  }
  return Ok();
}

}  // namespace moecast
