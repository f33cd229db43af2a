#include "calibration/serving/silicon_table.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <optional>
#include <string_view>

#include "calibration/csv_reader.h"
#include "sim/base/text.h"

namespace moecast::serving {
namespace {

constexpr double kMillisecond = 1e-3;
constexpr size_t kMostProblems = 20;

/// Cells of one row by column name.
class Row {
 public:
  Row(const std::map<std::string, size_t, std::less<>>& columns,
      const std::vector<std::string_view>& cells, std::string where, Errors& errors)
      : columns_(columns), cells_(cells), where_(std::move(where)), errors_(errors) {}

  [[nodiscard]] std::string Text(std::string_view column) const {
    return std::string(cells_[columns_.find(column)->second]);
  }
  std::optional<double> Maybe(std::string_view column) {
    return Text(column).empty() ? std::nullopt : std::optional(Positive(column));
  }
  double Positive(std::string_view column) {
    const std::string text = Text(column);
    double value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    constexpr double kMost = 1e12;
    if (error == std::errc() && end == text.data() + text.size() && value > 0 && value < kMost) {
      return value;
    }
    errors_.push_back({std::string(column) + " is '" + text + "'; allowed: a number > 0", where_});
    return 1;
  }
  int64_t Whole(std::string_view column) {
    constexpr double kMostWhole = 1e6;  // GPUs, or requests in flight
    const double value = Positive(column);
    if (value == std::floor(value) && value <= kMostWhole) return static_cast<int64_t>(value);
    errors_.push_back({std::string(column) + " is '" + Text(column) +
                           "'; allowed: a whole number from 1 to 1000000",
                       where_});
    return 1;
  }
  [[nodiscard]] const std::string& where() const { return where_; }

 private:
  const std::map<std::string, size_t, std::less<>>& columns_;
  const std::vector<std::string_view>& cells_;
  std::string where_;
  Errors& errors_;
};

/// InferenceX's rows come from dumps named after a day.
constexpr double kInferenceXRatio = 0.8;
bool IsInferenceX(const Row& row) {
  return row.Text("silicon_data_source").starts_with("source_file=20");
}

/// How aiconfigurator's own tools serve and measure (their generator's rules for aggregated workers
/// and their script for aiperf): a step takes one prompt, the batch and a margin; every run begins
/// with warm-up requests that count nowhere.
constexpr int64_t kStepMargin = 1500;  // tokens
constexpr int64_t kWarmupRounds = 2;

struct Layout {
  int64_t tensor = 1, data = 1, expert = 1;
};

Layout LayoutOf(Row& row) {
  const int64_t tensor = row.Whole("tp_size");
  const int64_t expert_tensor = row.Whole("moe_tp_size");
  const int64_t expert = row.Whole("moe_ep_size");
  if (IsInferenceX(row) && expert == expert_tensor && tensor == expert * expert_tensor) {
    return {.tensor = expert, .data = 1, .expert = expert};
  }
  return {.tensor = tensor,
          .data = std::max<int64_t>(1, expert * expert_tensor / tensor),
          .expert = expert};
}

std::string EngineOf(const Row& row) {
  constexpr size_t kDate = 10;  // "2025-11-02"
  const std::string version = row.Text("backend_version");
  return row.Text("backend") + "-" +
         (version.empty() ? row.Text("measured").substr(0, kDate) : version);
}

/// The catalog's name of a system, or empty.
std::string_view GpuOf(std::string_view system) {
  if (system == "h100_sxm") return "H100-SXM";
  if (system == "h200_sxm") return "H200-SXM";
  return {};
}

/// What a row's own figures contradict, before any forecast is looked at.
std::string SuspectOf(const ServingPoint& point, bool concurrency_stated) {
  if (!concurrency_stated) return "states no concurrency; its batch size stands in";
  const double decoding = *point.tpot_s * point.output_tokens;
  if (*point.ttft_s > decoding) {
    return "waits longer than it decodes: the engine ran fewer requests than the row's concurrency";
  }
  return {};
}

SiliconRow ReadRow(Row& row) {
  const Layout layout = LayoutOf(row);
  SiliconRow read{.id = row.Text("id"),
                  .engine = EngineOf(row),
                  .model = row.Text("model_path"),
                  .system = row.Text("system"),
                  .gpus = layout.tensor * layout.data};
  ServingPoint& point = read.point;
  point.where = row.where();
  const std::optional<double> stated = row.Maybe("concurrency");
  point.concurrency = stated ? row.Whole("concurrency") : row.Whole("batch_size");
  point.input_tokens = row.Positive("isl");
  point.output_tokens = row.Positive("osl");
  point.ttft_s = row.Positive("silicon_ttft_ms") * kMillisecond;
  point.tpot_s = row.Positive("silicon_tpot_ms") * kMillisecond;
  point.overrides = {"cluster.parallelism.tensor=" + std::to_string(layout.tensor),
                     "cluster.parallelism.data=" + std::to_string(layout.data),
                     "cluster.parallelism.expert=" + std::to_string(layout.expert)};
  if (const std::string_view gpu = GpuOf(read.system); !gpu.empty()) {
    point.overrides.push_back("cluster.gpu=" + std::string(gpu));
  }
  if (IsInferenceX(row)) {  // its nominal lengths are the longest of a uniform draw
    point.length_ratio = kInferenceXRatio;
    point.input_tokens *= (1 + kInferenceXRatio) / 2;
    point.output_tokens *= (1 + kInferenceXRatio) / 2;
  } else if (stated) {
    point.warmup = kWarmupRounds * point.concurrency;
    const auto prompt = static_cast<int64_t>(point.input_tokens);
    point.overrides.push_back("engine.max_batch_tokens=" +
                              std::to_string(row.Whole("batch_size") + prompt + kStepMargin));
  }
  read.suspect = SuspectOf(point, stated.has_value());
  return read;
}

}  // namespace

Result<std::vector<SiliconRow>> ParseSiliconTable(const std::string& text,
                                                  const std::string& name) {
  SIM_TRY(const calibration::CsvText csv, calibration::SplitCsv(text, name));
  std::map<std::string, size_t, std::less<>> columns;
  for (const std::string& column : csv.columns) columns.emplace(column, columns.size());
  for (const char* needed :
       {"id", "backend", "backend_version", "model_path", "system", "isl", "osl", "batch_size",
        "tp_size", "moe_tp_size", "moe_ep_size", "silicon_ttft_ms", "silicon_tpot_ms",
        "concurrency", "measured", "silicon_data_source"}) {
    if (!columns.contains(needed)) {
      return Error{"column '" + std::string(needed) + "' is missing", name + ":1"};
    }
  }
  std::vector<SiliconRow> rows;
  Errors errors;
  for (const calibration::CsvLine& line : csv.lines) {
    Row row(columns, line.cells, name + ":" + std::to_string(line.number), errors);
    rows.push_back(ReadRow(row));
    if (errors.size() >= kMostProblems) break;
  }
  if (!errors.empty()) return errors;
  return rows;
}

}  // namespace moecast::serving
