#include "kernels/harness/row_csv.h"

#include <array>
#include <cstdio>

#include "sim/base/check.h"

namespace moecast::kernels {

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
void AppendCell(const std::optional<double>& value, std::string& line) {
  if (value) AppendCell(*value, line);
}

Status SetCell(const std::string& cell, const std::string&, std::string& value) {
  value = cell;
  return Ok();
}
Status SetCell(const std::string& cell, const std::string& where, double& value) {
  SIM_TRY(value, ParseNumber(cell, where));
  return Ok();
}
Status SetCell(const std::string& cell, const std::string& where, std::optional<double>& value) {
  value.reset();
  if (cell.empty()) return Ok();
  SIM_TRY(value, ParseNumber(cell, where));
  return Ok();
}

std::string SampleLines(const std::vector<std::span<const double>>& samples_us) {
  std::string text = "row,samples_us\n";
  for (size_t r = 0; r < samples_us.size(); ++r) {
    text += std::to_string(r) + ',';
    for (size_t i = 0; i < samples_us[r].size(); ++i)
      text += (i == 0 ? "" : " ") + FiveDigits(samples_us[r][i]);
    text += '\n';
  }
  return text;
}

}  // namespace moecast::kernels
