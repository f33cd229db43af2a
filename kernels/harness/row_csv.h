// Rows of a measurement file from and to CSV, for any row whose columns a visitor lists. A cell is
// text, a number with five significant digits, or an empty cell for a number that does not apply.
#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernels/harness/csv_table.h"
#include "sim/base/result.h"
#include "sim/base/text.h"

namespace moecast::kernels {

std::string FiveDigits(double value);

/// Appends a cell. REQUIRES: text holds neither comma, quote nor line break.
void AppendCell(const std::string& value, std::string& line);
void AppendCell(double value, std::string& line);
void AppendCell(const std::optional<double>& value, std::string& line);

/// ERRORS: a cell that is no number, with `where`.
Status SetCell(const std::string& cell, const std::string& where, std::string& value);
Status SetCell(const std::string& cell, const std::string& where, double& value);
Status SetCell(const std::string& cell, const std::string& where, std::optional<double>& value);

/// "row,samples_us", then one line per row: its number and its samples.
std::string SampleLines(const std::vector<std::span<const double>>& samples_us);

/// `visit_fields(row, visit)` calls visit(column, member) for every column in file order.
template <class Row, class VisitFields>
std::string RowsToCsv(const std::vector<Row>& rows, VisitFields visit_fields) {
  std::string text;
  const Row empty;
  visit_fields(empty, [&](const char* column, const auto&) {
    text += (text.empty() ? "" : ",") + std::string(column);
  });
  text += '\n';
  for (const Row& row : rows) {
    std::string line;
    bool first = true;
    visit_fields(row, [&](const char*, const auto& value) {
      if (!first) line += ',';
      first = false;
      AppendCell(value, line);
    });
    text += line + '\n';
  }
  return text;
}

/// Columns may stand in any order; the one named `may_be_absent` keeps its default where it is.
/// ERRORS: as ParseCsv, another missing or an unknown column, a cell that is no number.
template <class Row, class VisitFields>
Result<std::vector<Row>> RowsFromCsv(std::string_view text, const std::string& name,
                                     VisitFields visit_fields, std::string_view may_be_absent) {
  SIM_TRY(const CsvTable table, ParseCsv(text, name));
  Errors errors;
  std::vector<std::string> known;
  const Row empty;
  visit_fields(empty, [&](const char* column, const auto&) {
    known.emplace_back(column);
    const Result<size_t> at = table.Column(column);
    if (!at.ok() && column != may_be_absent)
      errors.insert(errors.end(), at.errors().begin(), at.errors().end());
  });
  for (const std::string& column : table.columns) {
    if (std::find(known.begin(), known.end(), column) == known.end())
      errors.push_back(
          {"unknown column '" + column + "'" + DidYouMean(column, known), name + ":1"});
  }
  std::vector<Row> rows(table.rows.size());
  for (size_t r = 0; r < rows.size(); ++r) {
    visit_fields(rows[r], [&](const char* column, auto& value) {
      const Result<size_t> at = table.Column(column);
      if (!at.ok()) return;
      const std::string where = name + ":" + std::to_string(r + 2) + ": " + column;
      const Status set = SetCell(table.rows[r][*at], where, value);
      if (!set.ok()) errors.insert(errors.end(), set.errors().begin(), set.errors().end());
    });
  }
  if (!errors.empty()) return errors;
  return rows;
}

}  // namespace moecast::kernels
