// ReadServingPoints: tells the format of a file and reads it.
#include <charconv>
#include <cmath>
#include <optional>

#include "calibration/csv_reader.h"
#include "calibration/serving/bench_fields.h"
#include "sim/base/files.h"
#include "sim/base/lines.h"
#include "sim/base/text.h"
#include "traces/formats/json_text.h"

namespace moecast::serving {
namespace {

constexpr size_t kMostProblems = 20;
constexpr double kMillisecond = 1e-3;
constexpr const char* kFormats =
    "expected `vllm bench serve` JSON (completed, total_input_tokens), SGLang JSONL (the same), "
    "aiperf JSON (time_to_first_token), InferenceX agg JSON (conc, isl), or a CSV whose header has "
    "concurrency,input_tokens,output_tokens,ttft_ms,tpot_ms";

/// One row of a CSV of points.
class PointRow {
 public:
  PointRow(const std::vector<std::string>& names, const std::vector<std::string_view>& cells,
           std::string where, Errors& errors)
      : names_(names), cells_(cells), where_(std::move(where)), errors_(errors) {}

  ServingPoint Read() {
    ServingPoint point{.where = where_};
    for (size_t i = 0; i < names_.size(); ++i) ReadCell(i, point);
    if (point.observations() == 0) {
      errors_.push_back({"neither ttft_ms nor tpot_ms is given", where_});
    }
    return point;
  }

 private:
  void ReadCell(size_t i, ServingPoint& point) {
    const std::string& name = names_[i];
    if (name == "concurrency") {
      point.concurrency = static_cast<int64_t>(Number(i, true));
    } else if (name == "input_tokens") {
      point.input_tokens = Number(i, false);
    } else if (name == "output_tokens") {
      point.output_tokens = Number(i, false);
    } else if (name == "ttft_ms") {
      if (!cells_[i].empty()) point.ttft_s = Number(i, false) * kMillisecond;
    } else if (name == "tpot_ms") {
      if (!cells_[i].empty()) point.tpot_s = Number(i, false) * kMillisecond;
    } else if (name == "requests") {
      point.requests = static_cast<int64_t>(Number(i, true));
    } else if (name == "length_ratio") {
      point.length_ratio = Number(i, false);
      if (point.length_ratio > 1) Fail(i, "a number > 0 and <= 1");
    } else if (name == "statistic") {
      point.statistic = cells_[i] == "median" ? Statistic::kMedian : Statistic::kMean;
      if (cells_[i] != "median" && cells_[i] != "mean") Fail(i, "mean, median");
    } else {
      constexpr size_t kSetPrefix = 4;  // "set:", checked in the header
      point.overrides.push_back(name.substr(kSetPrefix) + "=" + std::string(cells_[i]));
    }
  }
  double Number(size_t i, bool whole) {
    double value = 0;
    const std::string_view cell = cells_[i];
    const auto [end, error] = std::from_chars(cell.data(), cell.data() + cell.size(), value);
    const bool read = error == std::errc() && end == cell.data() + cell.size();
    if (read && std::isfinite(value) && value > 0 && (!whole || value == std::floor(value)) &&
        value < 1e15) {
      return value;
    }
    Fail(i, whole ? "a whole number >= 1" : "a number > 0");
    return 1;
  }
  void Fail(size_t i, std::string_view allowed) {
    errors_.push_back(
        {names_[i] + " is '" + std::string(cells_[i]) + "'; allowed: " + std::string(allowed),
         where_});
  }

  const std::vector<std::string>& names_;
  const std::vector<std::string_view>& cells_;
  std::string where_;
  Errors& errors_;
};

Status CheckHeader(const std::vector<std::string>& names, const std::string& where) {
  const std::vector<std::string> known{"concurrency", "input_tokens", "output_tokens", "ttft_ms",
                                       "tpot_ms",     "requests",     "length_ratio",  "statistic"};
  Errors errors;
  for (const std::string& name : names) {
    const bool set = name.starts_with("set:") && name.size() > 4;
    const bool is_known = std::find(known.begin(), known.end(), name) != known.end();
    if (!set && !is_known) {
      errors.push_back({"unknown column '" + name + "'" + DidYouMean(name, known), where});
    }
  }
  for (const char* needed : {"concurrency", "input_tokens", "output_tokens"}) {
    if (std::find(names.begin(), names.end(), needed) == names.end()) {
      errors.push_back({"column '" + std::string(needed) + "' is missing", where});
    }
  }
  if (!errors.empty()) return errors;
  return Ok();
}

/// Objects of a JSON text, each with its place: the whole text, or one per line.
Result<std::vector<ServingPoint>> ParseJson(const std::string& text, const std::string& name) {
  const Result<boost::json::value> whole = ParseJsonText(text, name);
  std::vector<std::pair<boost::json::value, std::string>> values;
  if (whole.ok()) {
    values.emplace_back(*whole, name);
  } else {
    std::string_view rest = text;
    for (int number = 1; !rest.empty(); ++number) {
      const std::string_view line = TakeLine(rest);
      if (line.find_first_not_of(" \t") == std::string_view::npos) continue;
      const std::string where = name + ":" + std::to_string(number);
      const Result<boost::json::value> value = ParseJsonText(line, where);
      // A first line that is no object begins one of several lines.
      if (!value.ok() && values.empty()) return whole.errors();
      if (!value.ok()) return Error{value.errors().front().message, where};
      values.emplace_back(*value, where);
    }
  }
  std::vector<ServingPoint> points;
  Errors errors;
  for (const auto& [value, where] : values) {
    const BenchFormat format =
        value.is_object() ? BenchFormatOf(value.as_object()) : BenchFormat::kNone;
    if (format == BenchFormat::kNone) return Error{kFormats, where};
    points.push_back(ReadBenchObject(format, BenchFields(value.as_object(), where, errors)));
    if (errors.size() >= kMostProblems) break;
  }
  if (!errors.empty()) return errors;
  return points;
}

}  // namespace

Result<std::vector<ServingPoint>> ParsePointTable(const std::string& text,
                                                  const std::string& name) {
  SIM_TRY(const calibration::CsvText csv, calibration::SplitCsv(text, name));
  SIM_RETURN_IF_ERROR(CheckHeader(csv.columns, name + ":1"));
  std::vector<ServingPoint> points;
  Errors errors;
  for (const calibration::CsvLine& line : csv.lines) {
    const std::string where = name + ":" + std::to_string(line.number);
    points.push_back(PointRow(csv.columns, line.cells, where, errors).Read());
    if (errors.size() >= kMostProblems) break;
  }
  if (!errors.empty()) return errors;
  if (points.empty()) return Error{"holds no point", name};
  return points;
}

Result<std::vector<ServingPoint>> ParseServingPoints(const std::string& text,
                                                     const std::string& name) {
  const size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string::npos) return Error{std::string("is empty; ") + kFormats, name};
  if (text[first] == '{') return ParseJson(text, name);
  if (text.starts_with("concurrency") || text.find("concurrency,") < text.find('\n')) {
    return ParsePointTable(text, name);
  }
  return Error{kFormats, name + ":1"};
}

Result<std::vector<ServingPoint>> ReadServingPoints(const std::filesystem::path& file) {
  SIM_TRY(const std::string text, ReadFile(file));
  return ParseServingPoints(text, file.string());
}

}  // namespace moecast::serving
