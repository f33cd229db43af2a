#include "kernels/harness/kv_schemes.h"

#include <cmath>

#include "kernels/harness/csv_table.h"
#include "sim/base/files.h"

namespace moecast::kernels {
namespace {

const std::vector<std::string>& ElementNames() {
  static const std::vector<std::string> names = {"bf16", "fp8_e4m3", "fp8_e5m2", "int8",
                                                 "int4", "int2",     "int1"};
  return names;
}

Result<int32_t> WholeAt(const CsvTable& table, size_t row, std::string_view column) {
  SIM_TRY(const double value, NumberAt(table, row, column));
  constexpr double kMost = 1e6;
  if (value < 0 || value > kMost || value != std::floor(value))
    return Error{"is no whole number from 0 to 1000000",
                 table.name + ":" + std::to_string(row + 2) + ": " + std::string(column)};
  return static_cast<int32_t>(value);
}

Result<KvPart> ReadPart(const CsvTable& table, size_t row, const std::string& part, bool keys) {
  SIM_TRY(const size_t element, ChoiceAt(table, row, part, ElementNames()));
  SIM_TRY(const double eta, NumberAt(table, row, keys ? "key_eta" : "value_eta"));
  SIM_TRY(const size_t shares,
          ChoiceAt(table, row, keys ? "shares_keys" : "shares_values", {"0", "1"}));
  SIM_TRY(const size_t axis, ChoiceAt(table, row, "key_axis", {"token", "channel"}));
  SIM_TRY(const int32_t group, WholeAt(table, row, "group"));
  if (!(eta >= 0 && eta < 0.5))
    return Error{"eta is not in [0, 0.5)", table.name + ":" + std::to_string(row + 2)};
  return KvPart{.element = static_cast<KvElement>(element),
                .axis = keys && axis == 1 ? ScaleAxis::kChannel : ScaleAxis::kToken,
                .group = group,
                .eta = static_cast<float>(eta),
                .shares_codes = shares == 1};
}

Result<NamedScheme> ReadScheme(const CsvTable& table, size_t row) {
  SIM_TRY(const size_t name, table.Column("scheme"));
  SIM_TRY(const size_t layer, table.Column("layer"));
  NamedScheme named{.name = table.rows[row][name], .layer = table.rows[row][layer]};
  KvScheme& scheme = named.scheme;
  SIM_TRY(scheme.keys, ReadPart(table, row, "keys", true));
  SIM_TRY(scheme.values, ReadPart(table, row, "values", false));
  SIM_TRY(scheme.window.sink, WholeAt(table, row, "sink"));
  SIM_TRY(scheme.window.recent, WholeAt(table, row, "recent"));
  SIM_TRY(scheme.window.flush, WholeAt(table, row, "flush"));
  SIM_TRY(const size_t rotation, ChoiceAt(table, row, "rotation", {"none", "hadamard", "given"}));
  scheme.rotation = static_cast<KeyRotation>(rotation);
  if (!Fits(ForHeads(scheme, 64), 64) || !Fits(ForHeads(scheme, 128), 128))
    return Error{"scheme '" + named.name + "' is none that the kernels store; see Fits in " +
                     "kernels/ops/kv/kv_scheme.h",
                 table.name + ":" + std::to_string(row + 2)};
  return named;
}

void SetGroup(KvPart& part, int head_dim) {
  if (part.element == KvElement::kBf16) return;
  const bool per_head = part.axis == ScaleAxis::kToken && part.group > head_dim;
  if (part.group == 0 || per_head) part.group = head_dim;
}

}  // namespace

KvScheme ForHeads(const KvScheme& scheme, int head_dim) {
  KvScheme fitted = scheme;
  SetGroup(fitted.keys, head_dim);
  SetGroup(fitted.values, head_dim);
  return fitted;
}

KvScheme WithGroup(const KvScheme& scheme, int group) {
  KvScheme other = scheme;
  if (other.keys.group > 0) other.keys.group = group;
  if (other.values.group > 0) other.values.group = group;
  return other;
}

Result<std::vector<NamedScheme>> ParseKvSchemes(std::string_view text, const std::string& name) {
  SIM_TRY(const CsvTable table, ParseCsv(text, name));
  std::vector<NamedScheme> schemes;
  for (size_t row = 0; row < table.rows.size(); ++row) {
    SIM_TRY(NamedScheme scheme, ReadScheme(table, row));
    schemes.push_back(std::move(scheme));
  }
  return schemes;
}

Result<std::vector<NamedScheme>> ReadKvSchemes(const std::filesystem::path& path) {
  SIM_TRY(const std::string text, ReadFile(path));
  return ParseKvSchemes(text, path.string());
}

}  // namespace moecast::kernels
