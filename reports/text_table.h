// TextTable: aligned columns for the console.
#pragma once

#include <string>
#include <vector>

namespace moecast {

/// Rows of cells; columns are as wide as their widest cell, two spaces apart.
class TextTable {
 public:
  enum class Align { kLeft, kRight };

  /// A column with its header lines, top line first. All columns have equally many.
  void AddColumn(Align align, std::vector<std::string> header);
  /// REQUIRES: one cell per column, in UTF-8; width counts code points.
  void AddRow(std::vector<std::string> cells);
  /// An empty line between groups of rows.
  void AddGap();
  /// Header, a rule, rows; no trailing blanks, each line ends with '\n'.
  [[nodiscard]] std::string Text() const;

 private:
  std::vector<Align> aligns_;
  std::vector<std::vector<std::string>> headers_;  // [column][line]
  std::vector<std::vector<std::string>> rows_;     // empty: a gap
};

}  // namespace moecast
