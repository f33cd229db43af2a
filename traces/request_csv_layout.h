// CsvLayout: the columns of each CSV request format, and the binding of a header row to them.
// Columns are found by name and may stand in any order.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "sim/base/result.h"
#include "traces/workload.h"

namespace moecast {

/// What a column tells.
enum class CsvField : uint8_t {
  kArrival,
  kInputTokens,
  kOutputTokens,
  kTotalTokens,     // input + output
  kInputPerOutput,  // ratio of input to output tokens
  kIgnored,
};
inline constexpr size_t kCsvFields = 6;

enum class ArrivalNotation : uint8_t { kSeconds, kNanoseconds, kTimestamp };

struct CsvColumn {
  std::string_view name;
  CsvField field = CsvField::kIgnored;
  ArrivalNotation notation = ArrivalNotation::kSeconds;  // of an arrival column
};

struct CsvLayout {
  std::string_view title;
  std::span<const CsvColumn> columns;
  /// The clock has an origin of its own (a date, the start of a collection): time 0 is the first
  /// row.
  bool starts_at_first_row = false;
  /// Output 0 marks a request that failed; elsewhere it is an error.
  bool zero_output_is_failure = false;
};

/// REQUIRES: `format` is a CSV format.
const CsvLayout& CsvLayoutOf(RequestTraceFormat format);
/// The layout that knows every name of `header`, or empty.
const CsvLayout* FindCsvLayout(std::span<const std::string_view> header);

/// Where a header row puts each field. For vidur the pair (input, output) wins over (total, ratio).
struct CsvBinding {
  struct Place {
    size_t column = 0;
    std::string_view name;  // of the layout
  };
  std::array<std::optional<Place>, kCsvFields> places;
  ArrivalNotation notation = ArrivalNotation::kSeconds;
  size_t columns = 0;  // of the header

  [[nodiscard]] const std::optional<Place>& operator[](CsvField field) const {
    return places[static_cast<size_t>(field)];
  }
};

/// Binds `header` to `layout`. On failure RETURNS what is wrong, as an Error without a place: an
/// unknown or doubled column, two columns for one field, a missing column. An arrival column may be
/// absent unless `arrival_required`.
Result<CsvBinding> BindCsvHeader(const CsvLayout& layout, std::span<const std::string_view> header,
                                 bool arrival_required);

}  // namespace moecast
