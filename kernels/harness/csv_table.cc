#include "kernels/harness/csv_table.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include "sim/base/lines.h"
#include "sim/base/text.h"

namespace moecast::kernels {
Result<size_t> CsvTable::Column(std::string_view column) const {
  const auto found = std::find(columns.begin(), columns.end(), column);
  if (found == columns.end())
    return Error{"no column '" + std::string(column) + "'" + DidYouMean(column, columns), name};
  return static_cast<size_t>(found - columns.begin());
}

Result<CsvTable> ParseCsv(std::string_view text, std::string name) {
  CsvTable table{.name = std::move(name), .columns = {}, .rows = {}};
  for (size_t line_number = 1; !text.empty(); ++line_number) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const std::string where = table.name + ":" + std::to_string(line_number);
    if (line.find_first_of("\"\r") != std::string_view::npos)
      return Error{"a cell holds a quote or a carriage return; cells are plain text", where};
    const std::vector<std::string_view> views = SplitCells(line);
    std::vector<std::string> cells(views.begin(), views.end());
    if (line_number == 1) {
      table.columns = std::move(cells);
      for (auto column = table.columns.begin(); column != table.columns.end(); ++column) {
        if (std::find(table.columns.begin(), column, *column) != column)
          return Error{"column '" + *column + "' appears twice", where};
      }
    } else if (cells.size() != table.columns.size()) {
      return Error{std::to_string(cells.size()) + " cells, the header has " +
                       std::to_string(table.columns.size()),
                   where};
    } else {
      table.rows.push_back(std::move(cells));
    }
  }
  if (table.columns.empty()) return Error{"empty; a header line is required", table.name};
  return table;
}

Result<double> ParseNumber(std::string_view cell, const std::string& where) {
  double value = 0;
  const auto [end, code] = std::from_chars(cell.data(), cell.data() + cell.size(), value);
  if (code != std::errc{} || end != cell.data() + cell.size() || !std::isfinite(value))
    return Error{"'" + std::string(cell) + "' is not a finite number", where};
  return value;
}

Result<double> NumberAt(const CsvTable& table, size_t row, std::string_view column) {
  SIM_TRY(const size_t at, table.Column(column));
  return ParseNumber(table.rows[row][at],
                     table.name + ":" + std::to_string(row + 2) + ": " + std::string(column));
}

Result<int32_t> CountAt(const CsvTable& table, size_t row, std::string_view column) {
  SIM_TRY(const double value, NumberAt(table, row, column));
  if (value < 1 || value > std::numeric_limits<int32_t>::max() || value != std::floor(value))
    return Error{"is no positive whole number",
                 table.name + ":" + std::to_string(row + 2) + ": " + std::string(column)};
  return static_cast<int32_t>(value);
}

Result<size_t> ChoiceAt(const CsvTable& table, size_t row, std::string_view column,
                        const std::vector<std::string>& allowed) {
  SIM_TRY(const size_t at, table.Column(column));
  const std::string& cell = table.rows[row][at];
  const auto found = std::find(allowed.begin(), allowed.end(), cell);
  if (found == allowed.end())
    return Error{"unknown value '" + cell + "'" + DidYouMean(cell, allowed),
                 table.name + ":" + std::to_string(row + 2) + ": " + std::string(column)};
  return static_cast<size_t>(found - allowed.begin());
}

}  // namespace moecast::kernels
