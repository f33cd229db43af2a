// The serving accuracy study: measured points of every engine in aiconfigurator's table, forecast
// after fitting overheads on at most five of them.
//   serving_accuracy silicon_table.csv scenarios/catalog reports/studies/accuracy
// Reads <model>.yaml of the last folder, writes serving.md and serving_ratios.csv there.
#include <cstdio>
#include <filesystem>
#include <string>
#include <thread>

#include "calibration/serving/accuracy_text.h"
#include "sim/base/files.h"

namespace moecast::serving {
namespace {

namespace fs = std::filesystem;
constexpr size_t kFitPoints = 5;
constexpr size_t kLeastRows = 2 * kFitPoints;  // a smaller group leaves too few to judge

std::vector<ServingPoint> PointsOf(const EngineGroup& group, const std::vector<size_t>& which) {
  std::vector<ServingPoint> points;
  points.reserve(which.size());
  for (const size_t i : which) points.push_back(group.rows[i].point);
  return points;
}

Result<GroupAccuracy> Judge(EngineGroup group, const fs::path& scenario, const fs::path& catalog) {
  const PointScenario where{.file = scenario,
                            .catalog = catalog,
                            .threads = static_cast<int>(std::thread::hardware_concurrency())};
  std::vector<size_t> all(group.rows.size());
  for (size_t i = 0; i < all.size(); ++i) all[i] = i;
  GroupAccuracy judged{.group = std::move(group)};
  SIM_TRY(const PointRunner runner, PointRunner::Make(where, PointsOf(judged.group, all)));
  SIM_TRY(judged.before, runner.Run(runner.base(), all));
  if (judged.group.rows.size() < kLeastRows) return judged;
  judged.fitted_on = ChooseFitRows(judged.group, kFitPoints);
  const std::vector<ServingPoint> few = PointsOf(judged.group, judged.fitted_on);
  SIM_TRY(const PointRunner few_runner, PointRunner::Make(where, few));
  SIM_TRY(ServingFit fit, FitServing(few_runner, few));
  SIM_TRY(judged.after, runner.Run(fit.efficiencies, all));
  judged.fit = std::move(fit);
  return judged;
}

Status Run(const fs::path& table, const fs::path& catalog, const fs::path& folder) {
  SIM_TRY(const std::string text, ReadFile(table));
  SIM_TRY(const std::vector<SiliconRow> rows, ParseSiliconTable(text, table.filename().string()));
  std::vector<GroupAccuracy> groups;
  for (EngineGroup& group : GroupByEngine(rows)) {
    const std::string model = group.model.substr(group.model.find('/') + 1);
    std::fprintf(stderr, "%s, %s: %zu points\n", model.c_str(), group.engine.c_str(),
                 group.rows.size());
    SIM_TRY(GroupAccuracy judged, Judge(std::move(group), folder / (model + ".yaml"), catalog));
    groups.push_back(std::move(judged));
  }
  SIM_RETURN_IF_ERROR(WriteFileAtomically(folder / "serving.md", AccuracyPage(groups)));
  return WriteFileAtomically(folder / "serving_ratios.csv", RatioTable(groups));
}

}  // namespace
}  // namespace moecast::serving

int main(int argc, char** argv) {
  constexpr int kArguments = 4;
  if (argc != kArguments) {
    std::fputs("usage: serving_accuracy TABLE CATALOG FOLDER\n", stderr);
    return 2;
  }
  if (!std::filesystem::exists(argv[1])) {
    std::fprintf(stderr, "skipped: %s is absent; the table is not part of this project\n", argv[1]);
    return 0;
  }
  const moecast::Status status = moecast::serving::Run(argv[1], argv[2], argv[3]);
  if (!status.ok()) {
    std::fputs(moecast::ToString(status.errors()).c_str(), stderr);
    return 2;
  }
  return 0;
}
