#include "calibration/import/table.h"

#include <algorithm>
#include <cmath>

#include "sim/base/text.h"

namespace moecast::calibration {
namespace {

constexpr double kMostWhole = 1e15;  // exact in a double

std::string Shown(std::string_view text) {
  constexpr size_t kMost = 40;
  std::string shown = "'";
  for (const char c : text.substr(0, kMost)) shown += c >= ' ' && c <= '~' ? c : '?';
  return shown + (text.size() > kMost ? "...'" : "'");
}

}  // namespace

Result<Table> Table::Open(const std::filesystem::path& path) {
  SIM_TRY(std::string bytes, ReadPacked(path));
  return Parse(std::move(bytes), path.string());
}

Result<Table> Table::Parse(std::string bytes, std::string name) {
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
  if (bytes.starts_with(kByteOrderMark)) bytes.erase(0, kByteOrderMark.size());
  if (bytes.starts_with(',')) bytes.insert(0, "index");
  Table table;
  table.name_ = std::move(name);
  table.text_ = std::make_unique<std::string>(std::move(bytes));
  SIM_TRY(table.csv_, SplitCsv(*table.text_, table.name_));
  return table;
}

std::optional<size_t> Table::Column(std::string_view name) const {
  const auto found = std::find(header().begin(), header().end(), name);
  if (found == header().end()) return std::nullopt;
  return static_cast<size_t>(found - header().begin());
}

size_t TableFields::Need(std::string_view name) {
  if (const std::optional<size_t> column = Find(name)) return *column;
  errors_->push_back(
      {"column '" + std::string(name) + "' is missing" + DidYouMean(name, table_->header()),
       table_->name() + ":1"});
  return 0;
}

std::optional<size_t> TableFields::Find(std::string_view name) {
  const std::optional<size_t> column = table_->Column(name);
  if (column) asked_.push_back(*column);
  return column;
}

std::vector<std::string> TableFields::Unasked() const {
  std::vector<std::string> names;
  for (size_t i = 0; i < table_->header().size(); ++i) {
    if (std::find(asked_.begin(), asked_.end(), i) == asked_.end()) {
      names.push_back(table_->header()[i]);
    }
  }
  return names;
}

void TableFields::Fail(size_t column, std::string_view allowed) {
  if (full()) return;
  errors_->push_back({table_->header()[column] + " is " + Shown(Text(column)) +
                          "; allowed: " + std::string(allowed),
                      source().Text()});
}

int64_t TableFields::Whole(size_t column, int64_t least) {
  const std::optional<double> value = ParseCell(Text(column));
  if (value && *value == std::floor(*value) && *value >= static_cast<double>(least) &&
      *value <= kMostWhole) {
    return static_cast<int64_t>(*value);
  }
  Fail(column, "a whole number >= " + std::to_string(least));
  return least;
}

double TableFields::Positive(size_t column) {
  const std::optional<double> value = ParseCell(Text(column));
  if (value && *value > 0) return *value;
  Fail(column, "a number > 0");
  return 1;
}

}  // namespace moecast::calibration
