#include "kernels/harness/reference_data.h"

#include <cmath>
#include <limits>

#include "kernels/harness/csv_table.h"
#include "sim/base/files.h"

namespace moecast::kernels {
namespace {

Result<CsvTable> ReadTable(const std::filesystem::path& path) {
  SIM_TRY(const std::string text, ReadFile(path));
  return ParseCsv(text, path.string());
}

Result<double> NumberAt(const CsvTable& table, size_t row, std::string_view column) {
  SIM_TRY(const size_t at, table.Column(column));
  return ParseNumber(table.rows[row][at],
                     table.name + ":" + std::to_string(row + 2) + ": " + std::string(column));
}

Result<int32_t> CountAt(const CsvTable& table, size_t row, std::string_view column) {
  SIM_TRY(const double value, NumberAt(table, row, column));
  if (value < 1 || value > std::numeric_limits<int32_t>::max() || value != std::floor(value))
    return Error{"is no positive whole number",
                 table.name + ":" + std::to_string(row + 2) + ": " + std::string(column)};
  return static_cast<int32_t>(value);
}

}  // namespace

Result<std::vector<ModelShape>> ReadModelShapes(const std::filesystem::path& path) {
  SIM_TRY(const CsvTable table, ReadTable(path));
  SIM_TRY(const size_t name, table.Column("model"));
  std::vector<ModelShape> models;
  for (size_t row = 0; row < table.rows.size(); ++row) {
    ModelShape model{.name = table.rows[row][name], .shape = {}};
    SIM_TRY(model.shape.hidden, CountAt(table, row, "hidden"));
    SIM_TRY(model.shape.intermediate, CountAt(table, row, "intermediate"));
    SIM_TRY(model.shape.experts, CountAt(table, row, "experts"));
    SIM_TRY(model.shape.top_k, CountAt(table, row, "top_k"));
    models.push_back(std::move(model));
  }
  return models;
}

Result<CardPeak> ReadCardPeak(const std::filesystem::path& path, const std::string& device_name) {
  SIM_TRY(const CsvTable table, ReadTable(path));
  SIM_TRY(const size_t card, table.Column("card"));
  SIM_TRY(const size_t pattern, table.Column("device_name_contains"));
  for (size_t row = 0; row < table.rows.size(); ++row) {
    if (device_name.find(table.rows[row][pattern]) == std::string::npos) continue;
    CardPeak peak{.name = table.rows[row][card]};
    SIM_TRY(peak.hbm_bytes_per_s, NumberAt(table, row, "hbm_bytes_per_s"));
    SIM_TRY(peak.bf16_flop_per_s, NumberAt(table, row, "bf16_flop_per_s"));
    SIM_TRY(peak.fp8_flop_per_s, NumberAt(table, row, "fp8_flop_per_s"));
    return peak;
  }
  return Error{"no row for a device named '" + device_name + "'", path.string()};
}

}  // namespace moecast::kernels
