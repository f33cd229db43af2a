// CsvReader: the lines of a plain CSV text as cells. No quoting: a text that needs it is refused.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sim/base/result.h"

namespace moecast::calibration {

struct CsvLine {
  int number = 0;  // from 1, the header included
  std::vector<std::string_view> cells;
};

struct CsvText {
  std::vector<std::string> columns;
  std::vector<CsvLine> lines;  // views into the text given to SplitCsv
};

/// ERRORS: no header, an empty or doubled column, a quote, a line of the wrong width.
Result<CsvText> SplitCsv(std::string_view text, const std::string& file);

/// The finite number the whole cell spells, or nothing.
std::optional<double> ParseCell(std::string_view cell);

}  // namespace moecast::calibration
