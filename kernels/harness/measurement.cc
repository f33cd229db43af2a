#include "kernels/harness/measurement.h"

#include <array>
#include <cstdio>
#include <type_traits>

#include "kernels/harness/csv_table.h"
#include "sim/base/check.h"
#include "sim/base/text.h"

namespace moecast::kernels {
namespace {

constexpr std::string_view kMayBeAbsent = "format";

std::string FiveDigits(double value) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.5g", value);
  return text.data();
}

void AppendCell(const std::string& value, std::string& line) {
  SIM_CHECK(value.find_first_of(",\"\r\n") == std::string::npos);
  line += value;
}
void AppendCell(double value, std::string& line) { line += FiveDigits(value); }

Status SetCell(const std::string& cell, const std::string&, std::string& value) {
  value = cell;
  return Ok();
}
Status SetCell(const std::string& cell, const std::string& where, double& value) {
  SIM_TRY(value, ParseNumber(cell, where));
  return Ok();
}

Errors UnknownColumns(const CsvTable& table) {
  std::vector<std::string> known;
  const Measurement empty;
  VisitFields(empty, [&](const char* column, const auto&) { known.emplace_back(column); });
  Errors errors;
  for (const std::string& column : table.columns) {
    bool found = false;
    for (const std::string& name : known) found = found || name == column;
    if (!found)
      errors.push_back(
          {"unknown column '" + column + "'" + DidYouMean(column, known), table.name + ":1"});
  }
  return errors;
}

}  // namespace

std::string ToCsv(const std::vector<Measurement>& rows) {
  std::string text;
  const Measurement empty;
  VisitFields(empty, [&](const char* column, const auto&) {
    text += (text.empty() ? "" : ",") + std::string(column);
  });
  text += '\n';
  for (const Measurement& row : rows) {
    std::string line;
    bool first = true;
    VisitFields(row, [&](const char*, const auto& value) {
      if (!first) line += ',';
      first = false;
      AppendCell(value, line);
    });
    text += line + '\n';
  }
  return text;
}

Result<std::vector<Measurement>> ParseMeasurements(std::string_view text, const std::string& name) {
  SIM_TRY(const CsvTable table, ParseCsv(text, name));
  Errors errors = UnknownColumns(table);
  std::vector<Measurement> rows(table.rows.size());
  for (size_t r = 0; r < rows.size(); ++r) {
    VisitFields(rows[r], [&](const char* column, auto& value) {
      const Result<size_t> at = table.Column(column);
      if (!at.ok()) {
        if (r == 0 && column != kMayBeAbsent)
          errors.insert(errors.end(), at.errors().begin(), at.errors().end());
        return;
      }
      const std::string where = name + ":" + std::to_string(r + 2) + ": " + column;
      const Status set = SetCell(table.rows[r][*at], where, value);
      if (!set.ok()) errors.insert(errors.end(), set.errors().begin(), set.errors().end());
    });
  }
  if (!errors.empty()) return errors;
  return rows;
}

std::string SamplesToCsv(const std::vector<Measurement>& rows) {
  std::string text = "row,samples_us\n";
  for (size_t r = 0; r < rows.size(); ++r) {
    text += std::to_string(r) + ',';
    for (size_t i = 0; i < rows[r].samples_us.size(); ++i)
      text += (i == 0 ? "" : " ") + FiveDigits(rows[r].samples_us[i]);
    text += '\n';
  }
  return text;
}

Status CheckAgainstPeak(const Measurement& row, const CardPeak& peak) {
  const std::string where = row.op + " " + row.model + " " + row.format +
                            " T=" + FiveDigits(row.tokens) + " D=" + FiveDigits(row.distinct) +
                            " " + row.regime;
  const double seconds = row.time_us.median * 1e-6;
  const double byte_rate = row.bytes * (1 - row.warm_ratio) / seconds;
  if (byte_rate > peak.hbm_bytes_per_s)
    return Error{"implies " + FiveDigits(byte_rate) + " bytes/s, above the card's " +
                     FiveDigits(peak.hbm_bytes_per_s) +
                     ": bytes are miscounted or the weights were in L2",
                 where};
  const bool is_fp8 = row.format.starts_with("fp8");
  const double flop_peak = is_fp8 ? peak.fp8_flop_per_s : peak.bf16_flop_per_s;
  if (row.flops / seconds > flop_peak)
    return Error{"implies " + FiveDigits(row.flops / seconds) + " flop/s, above the card's " +
                     FiveDigits(flop_peak) + ": operations are miscounted",
                 where};
  return Ok();
}

}  // namespace moecast::kernels
