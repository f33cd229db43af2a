// CsvTable: a header and rows of plain cells. No quoting: a cell holds neither comma, quote nor
// line break, and a file that needs them is refused.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "sim/base/result.h"

namespace moecast::kernels {

struct CsvTable {
  std::string name;  // for messages
  std::vector<std::string> columns;
  std::vector<std::vector<std::string>> rows;  // each of columns.size() cells

  /// ERRORS: no such column, with the nearest name.
  [[nodiscard]] Result<size_t> Column(std::string_view column) const;
};

/// ERRORS: no header, a doubled column, a quote, or a row of the wrong width, with its line.
Result<CsvTable> ParseCsv(std::string_view text, std::string name);

/// The number a whole cell spells; `where` goes into the message.
Result<double> ParseNumber(std::string_view cell, const std::string& where);

/// One cell as a number, as a positive whole number, or as its place in `allowed`; row 0 is the
/// first below the header. ERRORS: no such column, or not that, with file, line and column.
Result<double> NumberAt(const CsvTable& table, size_t row, std::string_view column);
Result<int32_t> CountAt(const CsvTable& table, size_t row, std::string_view column);
Result<size_t> ChoiceAt(const CsvTable& table, size_t row, std::string_view column,
                        const std::vector<std::string>& allowed);

}  // namespace moecast::kernels
