#include "sim/validate/recorded_execution.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <string_view>
#include <utility>

#include "scenarios/cell_reader.h"
#include "sim/base/files.h"
#include "sim/base/lines.h"
#include "sim/base/text.h"
#include "sim/validate/step_work.h"
#include "sim/validate/validation_files.h"

namespace moecast {
namespace {

constexpr const char* kCasesFile = "cases.csv";
constexpr const char* kStepsFile = "steps.csv";
constexpr const char* kOpsFile = "ops.csv";

struct RecordedStep {
  int64_t line = 0;
  std::string case_name;
  int64_t step = 0;
  std::string work;
  ExecutedStep executed;
};

/// The cells of a line as Row writes them: names in quotes, quotes within doubled.
std::vector<std::string> SplitQuoted(std::string_view line) {
  std::vector<std::string> cells(1);
  bool quoted = false;
  for (size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    if (quoted && c == '"' && i + 1 < line.size() && line[i + 1] == '"') {
      cells.back() += line[++i];
    } else if (c == '"') {
      quoted = !quoted;
    } else if (c == ',' && !quoted) {
      cells.emplace_back();
    } else {
      cells.back() += c;
    }
  }
  return cells;
}

/// Calls use(cells of a line) for every line below the header, which must be `header`.
template <class Use>
Status ForEachRow(std::string_view text, const std::filesystem::path& file, std::string_view header,
                  Use use) {
  CellReader row{.file = file};
  if (TakeLine(text) != header) return row.Bad("expected the header " + std::string(header));
  const size_t columns = SplitCells(header).size();
  while (!text.empty()) {
    ++row.line;
    const std::vector<std::string> cells = SplitQuoted(TakeLine(text));
    if (cells.size() != columns) {
      return row.Bad("expected " + std::to_string(columns) + " cells, got " +
                     std::to_string(cells.size()));
    }
    row.cells.assign(cells.begin(), cells.end());
    SIM_RETURN_IF_ERROR(use(row));
  }
  return Ok();
}

/// Cells of a row by their names in its header.
class NamedCells {
 public:
  NamedCells(const CellReader& row, std::string_view header)
      : row_(row), names_(SplitCells(header)) {}

  [[nodiscard]] std::string Text(const char* name) const {
    return std::string(row_.cells[Column(name)]);
  }
  [[nodiscard]] Result<int64_t> Whole(const char* name) const {
    return row_.ReadWhole(Column(name), name, 0, int64_t{1} << 53);
  }
  [[nodiscard]] Result<double> Amount(const char* name) const {
    return row_.ReadAmount(Column(name), name);
  }
  /// Of microseconds with three digits: the number that WholeNs made.
  [[nodiscard]] Result<Seconds> Microseconds(const char* name) const {
    constexpr double kSecondsPerUs = 1e-6;
    SIM_TRY(const double us, Amount(name));
    return WholeNs(Seconds(us * kSecondsPerUs));
  }
  [[nodiscard]] const CellReader& row() const { return row_; }

 private:
  [[nodiscard]] size_t Column(std::string_view name) const {
    return static_cast<size_t>(std::ranges::find(names_, name) - names_.begin());
  }
  const CellReader& row_;
  std::vector<std::string_view> names_;
};

}  // namespace

struct RecordedExecution::Record {
  std::filesystem::path folder;
  std::string device;
  std::vector<CaseSeconds> times;
  std::vector<RecordedStep> steps;
  size_t next = 0;

  Status ReadCase(const NamedCells& row);
  Status ReadStep(const NamedCells& row);
  /// `at`: the step of the row before.
  Status ReadOp(const NamedCells& row, size_t& at);
  Result<ExecutedStep> Next(const std::string& work);

  [[nodiscard]] Error Bad(int64_t line, const std::string& what) const {
    return {what, (folder / kStepsFile).string() + ":" + std::to_string(line)};
  }
};

Status RecordedExecution::Record::ReadCase(const NamedCells& row) {
  CaseSeconds& time = times.emplace_back();
  device = row.Text("device");
  for (auto& [name, to] : {std::pair<const char*, Seconds*>{"opening_s", &time.opening},
                           {"preparing_s", &time.preparing},
                           {"gpu_s", &time.gpu},
                           {"timing_ops_s", &time.timing_ops},
                           {"all_s", &time.all}}) {
    SIM_TRY(const double seconds, row.Amount(name));
    *to = Seconds(seconds);
  }
  return Ok();
}

Status RecordedExecution::Record::ReadStep(const NamedCells& row) {
  RecordedStep step;
  step.line = row.row().line;
  step.case_name = row.Text("case");
  step.work = row.Text("work");
  SIM_TRY(step.step, row.Whole("step"));
  SIM_TRY(step.executed.gpu, row.Microseconds("executed_us"));
  if (step.executed.gpu.count() == 0) return row.row().Bad("executed_us: must be above 0");
  SIM_TRY(step.executed.sm_mhz, row.Amount("sm_mhz"));
  SIM_TRY(step.executed.layers, row.Microseconds("layers_timed_apart_us"));
  steps.push_back(std::move(step));
  return Ok();
}

Status RecordedExecution::Record::ReadOp(const NamedCells& row, size_t& at) {
  SIM_TRY(const int64_t step, row.Whole("step"));
  SIM_TRY(const Seconds time, row.Microseconds("executed_us"));
  const std::string name = row.Text("case");
  const auto is_it = [&](const RecordedStep& s) { return s.step == step && s.case_name == name; };
  while (at < steps.size() && !is_it(steps[at])) ++at;
  if (at == steps.size()) {
    return row.row().Bad("step: steps.csv has no step " + std::to_string(step) + " of '" + name +
                         "' from here on");
  }
  if (time.count() > 0) steps[at].executed.ops.push_back({.op = row.Text("op"), .time = time});
  return Ok();
}

Result<ExecutedStep> RecordedExecution::Record::Next(const std::string& work) {
  if (next == steps.size()) {
    return Bad(steps.empty() ? 1 : steps.back().line,
               "the scenario's run has more steps than the " + std::to_string(next) + " recorded");
  }
  const RecordedStep& step = steps[next];
  if (step.work != work) {
    return Bad(step.line, "work: step " + std::to_string(step.step) + " of '" + step.case_name +
                              "' was " + step.work + ", the scenario's is " + work +
                              ": another scenario, seed, trace or version");
  }
  ++next;
  return step.executed;
}

Result<RecordedExecution> RecordedExecution::Read(const std::filesystem::path& folder) {
  RecordedFiles files;
  SIM_TRY(files.cases, ReadFile(folder / kCasesFile));
  SIM_TRY(files.steps, ReadFile(folder / kStepsFile));
  SIM_TRY(files.ops, ReadFile(folder / kOpsFile));
  return Parse(files, folder);
}

Result<RecordedExecution> RecordedExecution::Parse(const RecordedFiles& files,
                                                   const std::filesystem::path& folder) {
  const auto record = std::make_shared<Record>();
  record->folder = folder;
  SIM_RETURN_IF_ERROR(ForEachRow(
      files.cases, folder / kCasesFile, kCasesHeader,
      [&](const CellReader& row) { return record->ReadCase(NamedCells(row, kCasesHeader)); }));
  SIM_RETURN_IF_ERROR(ForEachRow(
      files.steps, folder / kStepsFile, kStepsHeader,
      [&](const CellReader& row) { return record->ReadStep(NamedCells(row, kStepsHeader)); }));
  size_t at = 0;
  SIM_RETURN_IF_ERROR(ForEachRow(
      files.ops, folder / kOpsFile, kOpsHeader,
      [&](const CellReader& row) { return record->ReadOp(NamedCells(row, kOpsHeader), at); }));
  return RecordedExecution(record);
}

OpenExecutor RecordedExecution::Open() const {
  return [record = record_](const ExecutorRequest& request) -> Result<StepExecutor> {
    return StepExecutor{.device = record->device, .run = [record, request](const StepRun& run) {
                          return record->Next(Hex64(StepWork(request, run)));
                        }};
  };
}

Status RecordedExecution::CheckUsedUp() const {
  if (record_->next == record_->steps.size()) return Ok();
  const RecordedStep& step = record_->steps[record_->next];
  return record_->Bad(step.line, "step " + std::to_string(step.step) + " of '" + step.case_name +
                                     "' and what follows: the scenario's run has " +
                                     std::to_string(record_->next) + " steps, recorded are " +
                                     std::to_string(record_->steps.size()));
}

const std::vector<CaseSeconds>& RecordedExecution::times() const { return record_->times; }

}  // namespace moecast
