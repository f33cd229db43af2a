// Table: a CSV file with a header, held whole, and typed reading of its cells. Every problem names
// file:line: field, the value and what is allowed.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "calibration/csv_reader.h"
#include "calibration/kernel_row.h"
#include "sim/base/result.h"

namespace moecast::calibration {

/// The largest file read, decompressed: the largest public table is a hundredth of it.
inline constexpr size_t kMaxTableBytes = size_t{1} << 30;
/// Problems listed before the rest is only counted.
inline constexpr size_t kMostProblems = 20;

/// The bytes of a file; gzip and Zstandard are told by their first bytes and unpacked.
/// ERRORS: unreadable; damaged or cut compressed data; more than kMaxTableBytes.
Result<std::string> ReadPacked(const std::filesystem::path& path);
/// The same for bytes at hand; `name` is what errors call them.
Result<std::string> Unpack(std::string bytes, const std::string& name);

class Table {
 public:
  static Result<Table> Open(const std::filesystem::path& path);
  /// ERRORS: as SplitCsv. A nameless first column, as pandas writes its index, is called "index".
  static Result<Table> Parse(std::string bytes, std::string name);

  [[nodiscard]] size_t rows() const { return csv_.lines.size(); }
  [[nodiscard]] const std::vector<std::string>& header() const { return csv_.columns; }
  [[nodiscard]] std::optional<size_t> Column(std::string_view name) const;
  [[nodiscard]] std::string_view Cell(size_t row, size_t column) const {
    return csv_.lines[row].cells[column];
  }
  [[nodiscard]] RowSource Source(size_t row) const {
    return {.file = name_, .line = csv_.lines[row].number};
  }
  [[nodiscard]] const std::string& name() const { return name_; }

 private:
  Table() = default;
  std::string name_;
  std::unique_ptr<std::string> text_;  // what the cells point into
  CsvText csv_;
};

/// Reads cells of one row after another as numbers and words; collects problems. First the columns
/// are asked for, then EachRow reads the rows.
class TableFields {
 public:
  /// REQUIRES: both outlive this object.
  TableFields(const Table& table, Errors& errors) : table_(&table), errors_(&errors) {}

  /// The column, or a problem (with the nearest name) and column 0.
  size_t Need(std::string_view name);
  /// The column, when the table has it.
  std::optional<size_t> Find(std::string_view name);
  /// Columns that were never asked for, in file order: they say nothing to the importer.
  [[nodiscard]] std::vector<std::string> Unasked() const;

  /// Calls `read` at row after row, until there are kMostProblems; at none when a column is
  /// missing.
  template <class Read>
  void EachRow(const Read& read) {
    if (!errors_->empty()) return;
    for (row_ = 0; row_ < table_->rows() && !full(); ++row_) read();
  }
  [[nodiscard]] std::string_view Text(size_t column) const { return table_->Cell(row_, column); }
  /// A whole number >= least, written "4" or "4.0"; else a problem and `least`.
  int64_t Whole(size_t column, int64_t least);
  /// A number > 0; else a problem and 1.
  double Positive(size_t column);
  void Fail(size_t column, std::string_view allowed);
  [[nodiscard]] RowSource source() const { return table_->Source(row_); }
  [[nodiscard]] bool full() const { return errors_->size() >= kMostProblems; }

 private:
  const Table* table_;
  Errors* errors_;
  std::vector<size_t> asked_;
  size_t row_ = 0;
};

}  // namespace moecast::calibration
