#include "calibration/measurement_table.h"

#include <algorithm>
#include <array>
#include <optional>
#include <set>

#include "calibration/csv_reader.h"
#include "calibration/suite_names.h"
#include "sim/base/files.h"
#include "sim/base/text.h"

namespace moecast::calibration {
namespace {

/// Bare launches and copies: ceilings of the card, no kernel of a step.
constexpr std::array<std::string_view, 5> kCeilings{"empty", "empty_pdl", "read", "copy",
                                                    "copy_library"};
/// Ends of ops that are timed beside a kernel for comparison, and never run by a step.
constexpr std::array<std::string_view, 2> kYardsticks{"_naive", "_library"};
/// Columns that say how a row was taken, not what was timed.
constexpr std::array<std::string_view, 15> kNotes{
    "regime",    "rule",        "launches",  "samples",         "stop",
    "discarded", "sm_mhz",      "power_w",   "reasons",         "model",
    "min_us",    "stored_bits", "read_bits", "equivalent_bits", "output_error"};

template <size_t kCount>
bool Holds(const std::array<std::string_view, kCount>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

/// A time column: its index and what one unit of it is in ns.
struct TimeColumn {
  size_t index = 0;
  double ns = 0;
};

std::optional<double> NanosecondsPerUnit(std::string_view suffix) {
  if (suffix == "ns") return 1;
  if (suffix == "us") return 1e3;
  if (suffix == "ms") return 1e6;
  return std::nullopt;
}

/// Where the cells of a suite go.
struct Layout {
  size_t op = 0;
  std::optional<size_t> model, regime, rule, variant, format, warm_ratio, stored;
  TimeColumn median;
  std::optional<TimeColumn> p05, p95;
  std::vector<std::pair<size_t, Feature>> features;
};

class LayoutReader {
 public:
  LayoutReader(const std::vector<std::string>& columns, std::string file)
      : columns_(columns), file_(std::move(file)) {}

  Result<Layout> Read(std::set<std::string>& ignored) {
    Layout layout;
    SIM_TRY(layout.op, Required("op"));
    SIM_TRY(const std::optional<TimeColumn> median, Time("median"));
    if (!median) {
      return Error{"column 'median_us' is missing" + DidYouMean("median_us", columns_),
                   file_ + ":1"};
    }
    layout.median = *median;
    SIM_TRY(layout.p05, Time("p05"));
    SIM_TRY(layout.p95, Time("p95"));
    layout.model = Find("model");
    layout.regime = Find("regime");
    layout.rule = Find("rule");
    layout.variant = Find("variant");
    layout.format = Find("format");
    layout.warm_ratio = Find("warm_ratio");
    layout.stored = Find("stored_bits");
    for (size_t i = 0; i < columns_.size(); ++i) {
      if (const auto feature = FeatureOfColumn(columns_[i]))
        layout.features.emplace_back(i, *feature);
    }
    for (const Feature needed : {Feature::kBytes, Feature::kFlops}) {
      SIM_TRY(size_t unused, Required(std::string(FeatureName(needed))));
      static_cast<void>(unused);
    }
    ListIgnored(ignored);
    return layout;
  }

 private:
  [[nodiscard]] std::optional<size_t> Find(std::string_view name) const {
    const auto found = std::find(columns_.begin(), columns_.end(), name);
    if (found == columns_.end()) return std::nullopt;
    return static_cast<size_t>(found - columns_.begin());
  }
  [[nodiscard]] Result<size_t> Required(const std::string& name) const {
    if (const auto found = Find(name)) return *found;
    return Error{"column '" + name + "' is missing" + DidYouMean(name, columns_), file_ + ":1"};
  }
  [[nodiscard]] Error NoUnit(const std::string& name, const std::string& column) const {
    return {"time column '" + column + "' has no unit; allowed: " + name + "_ns, " + name +
                "_us, " + name + "_ms",
            file_ + ":1"};
  }
  /// The column "NAME_unit". ERRORS: "NAME" without a unit, or with one that is no time.
  [[nodiscard]] Result<std::optional<TimeColumn>> Time(const std::string& name) const {
    for (size_t i = 0; i < columns_.size(); ++i) {
      const std::string& column = columns_[i];
      if (!column.starts_with(name)) continue;
      if (column.size() > name.size() && column[name.size()] != '_') continue;
      const std::string suffix = column.size() > name.size() ? column.substr(name.size() + 1) : "";
      const auto ns = NanosecondsPerUnit(suffix);
      if (ns) return std::optional(TimeColumn{.index = i, .ns = *ns});
      return NoUnit(name, column);
    }
    return std::optional<TimeColumn>();
  }
  void ListIgnored(std::set<std::string>& ignored) const {
    constexpr std::array<std::string_view, 4> kRead{"op", "variant", "format", "warm_ratio"};
    for (const std::string& column : columns_) {
      const bool time = column.starts_with("median_") || column.starts_with("p05_") ||
                        column.starts_with("p25_") || column.starts_with("p75_") ||
                        column.starts_with("p95_");
      if (!time && !Holds(kRead, column) && !Holds(kNotes, column) && !FeatureOfColumn(column)) {
        ignored.insert(column);
      }
    }
  }

  const std::vector<std::string>& columns_;
  std::string file_;
};

/// Reads the cells of one line; the first that is no number is the error.
class LineReader {
 public:
  LineReader(const CsvText& csv, const CsvLine& line, std::string where)
      : csv_(csv), line_(line), where_(std::move(where)) {}

  std::string Text(std::optional<size_t> column) const {
    return column ? std::string(line_.cells[*column]) : std::string();
  }
  double Number(size_t column) {
    const auto value = ParseCell(line_.cells[column]);
    if ((!value || *value < 0) && !error_) {
      error_ = Error{csv_.columns[column] + ": expected a number of at least 0, got '" +
                         std::string(line_.cells[column]) + "'",
                     where_};
    }
    return value.value_or(0);
  }
  [[nodiscard]] const std::optional<Error>& error() const { return error_; }

 private:
  const CsvText& csv_;
  const CsvLine& line_;
  std::string where_;
  std::optional<Error> error_;
};

std::string LabelOf(const LineReader& line, const Layout& layout) {
  std::string label;
  for (const auto column : {layout.model, layout.regime, layout.rule}) {
    const std::string text = line.Text(column);
    if (!text.empty() && text != "-") label += (label.empty() ? "" : " ") + text;
  }
  // Layers of one scheme may share their codes or not.
  if (layout.stored) label += ", " + line.Text(layout.stored) + " bits stored";
  return label;
}

Result<KernelRow> ReadLine(const CsvText& csv, const CsvLine& cells, const Layout& layout,
                           RowSource source) {
  LineReader line(csv, cells, source.Text());
  KernelRow row{.op = line.Text(layout.op),
                .variant = line.Text(layout.variant),
                .format = layout.format ? line.Text(layout.format) : "bf16",
                .label = LabelOf(line, layout),
                .source = std::move(source)};
  for (const auto& [column, feature] : layout.features) row.features[feature] = line.Number(column);
  row.time_ns = line.Number(layout.median.index) * layout.median.ns;
  if (layout.p05 && layout.p95) {
    row.spread_ns = line.Number(layout.p95->index) * layout.p95->ns -
                    line.Number(layout.p05->index) * layout.p05->ns;
  }
  if (layout.warm_ratio) row.warm_ratio = line.Number(*layout.warm_ratio);
  if (line.error()) return *line.error();
  if (row.time_ns <= 0) {
    return Error{csv.columns[layout.median.index] + ": a launch takes more than 0",
                 row.source.Text()};
  }
  return row;
}

bool IsNoKernel(std::string_view op) {
  return Holds(kCeilings, op) ||
         std::any_of(kYardsticks.begin(), kYardsticks.end(),
                     [op](std::string_view end) { return op.ends_with(end); });
}

/// Folders below `folder`, itself included, that hold an environment.yaml; sorted.
std::vector<std::filesystem::path> SuiteFolders(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> found;
  std::error_code failure;
  for (std::filesystem::recursive_directory_iterator it(folder, failure), end;
       !failure && it != end; it.increment(failure)) {
    if (it->path().filename() == "environment.yaml") found.push_back(it->path().parent_path());
  }
  std::sort(found.begin(), found.end());
  return found;
}

std::vector<std::filesystem::path> SuiteFiles(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (name.ends_with(".csv") && !name.ends_with(".samples.csv")) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

/// The same errors, their places below `folder`.
Errors Below(const std::filesystem::path& folder, Errors errors) {
  for (Error& error : errors) error.where = (folder / error.where).string();
  return errors;
}

}  // namespace

Status ParseSuite(std::string_view text, const std::string& file, Measurements& into) {
  SIM_TRY(const CsvText csv, SplitCsv(text, file));
  std::set<std::string> ignored(into.ignored_columns.begin(), into.ignored_columns.end());
  SIM_TRY(const Layout layout, LayoutReader(csv.columns, file).Read(ignored));
  into.ignored_columns.assign(ignored.begin(), ignored.end());
  for (const CsvLine& line : csv.lines) {
    const std::string_view op = line.cells[layout.op];
    if (IsNoKernel(op)) {
      ++into.ceilings[std::string(op)];
      continue;
    }
    SIM_TRY(KernelRow row, ReadLine(csv, line, layout, {.file = file, .line = line.number}));
    row.gpu = into.card.gpu;
    const auto cell = [&line](std::optional<size_t> column) {
      return column ? line.cells[*column] : std::string_view();
    };
    TranslateSuite(row, cell(layout.regime), cell(layout.rule));
    into.rows.push_back(std::move(row));
  }
  return Ok();
}

Result<Measurements> ReadMeasurements(const std::filesystem::path& folder) {
  const std::vector<std::filesystem::path> suites = SuiteFolders(folder);
  if (suites.empty()) {
    std::error_code unknown;
    if (!std::filesystem::is_directory(folder, unknown)) {
      return Error{"is not a folder", folder.string()};
    }
    return Error{"holds no environment.yaml, which every folder of measurements has",
                 folder.string()};
  }
  Measurements all;
  std::map<std::string, std::filesystem::path> newest;  // of every suite, by file name
  for (const std::filesystem::path& suite : suites) {
    const std::filesystem::path environment = suite / "environment.yaml";
    SIM_TRY(const std::string text, ReadFile(environment));
    SIM_TRY(const CardFacts card, ParseEnvironment(text, environment.string()));
    if (!all.card.gpu.empty() && all.card.gpu != card.gpu) {
      return Error{"card: is " + card.gpu + ", but " + suites.front().string() +
                       " was measured on " + all.card.gpu + "; calibrate one GPU at a time",
                   environment.string()};
    }
    all.card = card;
    for (const std::filesystem::path& path : SuiteFiles(suite)) {
      std::filesystem::path& latest = newest[path.filename().string()];
      if (!latest.empty()) all.superseded.push_back(latest.lexically_relative(folder).string());
      latest = path;
    }
  }
  for (const auto& [name, path] : newest) {
    SIM_TRY(const std::string csv, ReadFile(path));
    const size_t before = all.rows.size();
    const std::string file = path.lexically_relative(folder).string();
    if (const Status read = ParseSuite(csv, file, all); !read.ok()) {
      return Below(folder, read.errors());
    }
    all.files.push_back({.file = file,
                         .sha256 = Sha256(csv),
                         .rows = static_cast<int64_t>(all.rows.size() - before)});
  }
  if (all.rows.empty()) return Error{"holds no row of a kernel", folder.string()};
  return all;
}

}  // namespace moecast::calibration
