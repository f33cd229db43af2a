#include "kernels/harness/reference_data.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/harness/csv_table.h"
#include "sim/base/files.h"
#include "sim/base/text.h"

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

// The cell's place in `allowed`.
Result<size_t> ChoiceAt(const CsvTable& table, size_t row, std::string_view column,
                        const std::vector<std::string>& allowed) {
  SIM_TRY(const size_t at, table.Column(column));
  const std::string& cell = table.rows[row][at];
  const auto found = std::find(allowed.begin(), allowed.end(), cell);
  if (found == allowed.end())
    return Error{"unknown value '" + cell + "'" + DidYouMean(cell, allowed),
                 table.name + ":" + std::to_string(row + 2) + ": " + std::string(column)};
  return static_cast<size_t>(found - allowed.begin());
}

Status ReadRouter(const CsvTable& table, size_t row, ModelShape& model) {
  SIM_TRY(const size_t score, ChoiceAt(table, row, "score", {"softmax", "sigmoid"}));
  SIM_TRY(const size_t normalise, ChoiceAt(table, row, "normalise", {"none", "kept"}));
  SIM_TRY(const size_t biased, ChoiceAt(table, row, "bias", {"0", "1"}));
  SIM_TRY(model.router.groups, CountAt(table, row, "groups"));
  SIM_TRY(model.router.kept_groups, CountAt(table, row, "kept_groups"));
  SIM_TRY(const double scale, NumberAt(table, row, "scale"));
  model.router.score = score == 0 ? ScoreKind::kSoftmax : ScoreKind::kSigmoid;
  model.router.grouping = model.router.groups > 1 ? GroupKind::kLimited : GroupKind::kNone;
  model.router.renormalise = normalise == 0 ? Renormalise::kNone : Renormalise::kKept;
  model.router.scale = static_cast<float>(scale);
  model.biased = biased == 1;
  if (model.shape.experts % model.router.groups != 0 ||
      model.router.kept_groups > model.router.groups)
    return Error{"groups do not divide the experts, or more are kept than there are",
                 table.name + ":" + std::to_string(row + 2)};
  return Ok();
}

}  // namespace

Result<std::vector<ModelShape>> ReadModelShapes(const std::filesystem::path& path) {
  SIM_TRY(const CsvTable table, ReadTable(path));
  SIM_TRY(const size_t name, table.Column("model"));
  std::vector<ModelShape> models;
  for (size_t row = 0; row < table.rows.size(); ++row) {
    ModelShape model{.name = table.rows[row][name], .shape = {}, .router = {}};
    SIM_TRY(model.shape.hidden, CountAt(table, row, "hidden"));
    SIM_TRY(model.shape.intermediate, CountAt(table, row, "intermediate"));
    SIM_TRY(model.shape.experts, CountAt(table, row, "experts"));
    SIM_TRY(model.shape.top_k, CountAt(table, row, "top_k"));
    const Status router = ReadRouter(table, row, model);
    if (!router.ok()) return router.errors();
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
