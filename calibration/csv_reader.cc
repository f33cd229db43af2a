#include "calibration/csv_reader.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "sim/base/lines.h"

namespace moecast::calibration {
namespace {

Status CheckHeader(const std::vector<std::string>& columns, const std::string& file) {
  for (size_t i = 0; i < columns.size(); ++i) {
    if (columns[i].empty()) {
      return Error{"column " + std::to_string(i + 1) + " has no name", file + ":1"};
    }
    if (std::count(columns.begin(), columns.end(), columns[i]) > 1) {
      return Error{"column '" + columns[i] + "' appears twice", file + ":1"};
    }
  }
  return Ok();
}

}  // namespace

Result<CsvText> SplitCsv(std::string_view text, const std::string& file) {
  CsvText csv;
  int number = 0;
  while (!text.empty()) {
    const std::string_view line = TakeLine(text);
    const std::string where = file + ":" + std::to_string(++number);
    if (line.find('"') != std::string_view::npos) {
      return Error{"quoted cells are not read", where};
    }
    if (number == 1) {
      for (const std::string_view cell : SplitCells(line)) csv.columns.emplace_back(cell);
      SIM_RETURN_IF_ERROR(CheckHeader(csv.columns, file));
      continue;
    }
    if (line.empty()) continue;
    csv.lines.push_back({.number = number, .cells = SplitCells(line)});
    if (csv.lines.back().cells.size() != csv.columns.size()) {
      return Error{std::to_string(csv.lines.back().cells.size()) + " cells in a table of " +
                       std::to_string(csv.columns.size()) + " columns",
                   where};
    }
  }
  if (csv.columns.empty()) return Error{"is empty; expected a header line", file};
  return csv;
}

std::optional<double> ParseCell(std::string_view cell) {
  double value = 0;
  const auto [end, failure] = std::from_chars(cell.data(), cell.data() + cell.size(), value);
  if (failure != std::errc() || end != cell.data() + cell.size() || !std::isfinite(value)) {
    return std::nullopt;
  }
  return value;
}

}  // namespace moecast::calibration
