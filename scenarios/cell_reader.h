// CellReader: the cells of one line of a small CSV, with errors that say file, line and column.
#pragma once

#include <charconv>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "sim/base/result.h"

namespace moecast {

struct CellReader {
  const std::filesystem::path& file;
  int64_t line = 1;
  std::vector<std::string_view> cells = {};

  [[nodiscard]] Error Bad(const std::string& what) const {
    return {what, file.string() + ":" + std::to_string(line)};
  }
  template <class Number>
  Result<Number> Read(size_t column, const char* name) const {
    Number value{};
    const std::string_view cell = cells[column];
    const auto [end, failure] = std::from_chars(cell.data(), cell.data() + cell.size(), value);
    if (failure != std::errc() || end != cell.data() + cell.size()) {
      return Bad(std::string(name) + ": expected a number, got '" + std::string(cell) + "'");
    }
    return value;
  }
  /// A finite number, 0 or more.
  Result<double> ReadAmount(size_t column, const char* name) const {
    SIM_TRY(const double value, Read<double>(column, name));
    if (std::isfinite(value) && value >= 0) return value;
    return Bad(std::string(name) + ": must be finite and 0 or more, got '" +
               std::string(cells[column]) + "'");
  }
  /// A whole number from `least` to `most`.
  Result<int64_t> ReadWhole(size_t column, const char* name, int64_t least, int64_t most) const {
    SIM_TRY(const int64_t value, Read<int64_t>(column, name));
    if (value >= least && value <= most) return value;
    return Bad(std::string(name) + ": must be from " + std::to_string(least) + " to " +
               std::to_string(most) + ", got " + std::to_string(value));
  }
};

}  // namespace moecast
