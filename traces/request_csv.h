// CsvRequestReader: the rows of a CSV request trace as requests on the trace's own clock.
#pragma once

#include <array>
#include <filesystem>
#include <string_view>

#include "sim/base/result.h"
#include "traces/request.h"
#include "traces/request_csv_layout.h"
#include "traces/request_lines.h"

namespace moecast {

class CsvRequestReader {
 public:
  /// Reads the header. ERRORS: as LineReader; an empty file; a header that does not fit `layout`.
  static Result<CsvRequestReader> Open(const std::filesystem::path& path, const CsvLayout& layout,
                                       bool arrival_required);
  /// The same for token counts alone: any CSV layout, told by its header; arrivals may be absent.
  static Result<CsvRequestReader> OpenLengths(const std::filesystem::path& path);

  /// Fills arrival (as the trace has it; 0 without such a column), input_tokens and output_tokens,
  /// and returns true; false at the end. output_tokens 0 is a failed request, only where the layout
  /// says so. ERRORS: as LineReader::Next; more or fewer fields than the header; a field that is no
  /// number or out of range.
  Result<bool> Next(Request& request);
  [[nodiscard]] const LineReader& lines() const { return lines_; }
  [[nodiscard]] bool starts_at_first_row() const { return layout_->starts_at_first_row; }

 private:
  static constexpr size_t kMaxColumns = 16;
  CsvRequestReader(LineReader lines, const CsvLayout& layout, CsvBinding binding);
  static Result<CsvRequestReader> OpenAs(const std::filesystem::path& path, const CsvLayout* layout,
                                         bool arrival_required);
  Status Split(std::string_view line);
  [[nodiscard]] std::string_view Cell(CsvField field) const;
  Result<int64_t> ReadArrivalNs() const;
  Result<int64_t> ReadTokens(CsvField field, int64_t least) const;
  Status ReadLengths(Request& request) const;

  LineReader lines_;
  const CsvLayout* layout_;
  CsvBinding binding_;
  std::array<std::string_view, kMaxColumns> cells_;  // of the row last read
};

}  // namespace moecast
