#include "kernels/harness/kv_accuracy_table.h"

#include "kernels/harness/kv_accuracy.h"
#include "kernels/harness/row_csv.h"
#include "kernels/ops/kv/kv_bits.h"
#include "kernels/ops/kv/latent_layout.h"
#include "sim/base/files.h"

namespace moecast::kernels {
namespace {

constexpr auto kVisit = [](auto& row, auto visit) {
  visit("scheme", row.scheme);
  visit("layer", row.layer);
  visit("data", row.data);
  visit("head_dim", row.head_dim);
  visit("tokens", row.tokens);
  visit("group", row.group);
  visit("equivalent_bits", row.equivalent_bits);
  visit("stored_bits", row.stored_bits);
  visit("key_error", row.key_error);
  visit("value_error", row.value_error);
  visit("output_error", row.output_error);
};

void SetErrors(const KvError& error, KvAccuracyRow& row) {
  row.key_error = error.keys;
  row.value_error = error.values;
  row.output_error = error.output;
}

void AppendScheme(const NamedScheme& named, int head_dim, int group,
                  std::vector<KvAccuracyRow>& rows) {
  const KvScheme scheme =
      ForHeads(group > 0 ? WithGroup(named.scheme, group) : named.scheme, head_dim);
  for (const KvDataKind kind : kKvDataKinds) {
    KvAccuracyRow row{.scheme = named.name, .layer = named.layer, .data = std::string(Name(kind))};
    row.head_dim = head_dim;
    row.tokens = kAccuracyTokens;
    row.group = scheme.values.group;
    row.equivalent_bits = EquivalentBits(scheme);
    row.stored_bits = StoredBits(scheme, head_dim, kAccuracyTokens);
    SetErrors(SchemeError(scheme, kind, head_dim, kAccuracyTokens), row);
    rows.push_back(std::move(row));
  }
}

void AppendLatent(const std::string& name, KvElement element, std::vector<KvAccuracyRow>& rows) {
  constexpr int kWidth = kLatentChannels + kRotaryChannels;
  const LatentLayout layout = LatentLayoutOf(element);
  const double code_bits = BitsOf(element) * kLatentChannels + 16 * kRotaryChannels;
  for (const KvDataKind kind : kKvDataKinds) {
    KvAccuracyRow row{.scheme = name, .layer = "all", .data = std::string(Name(kind))};
    row.head_dim = kWidth;
    row.tokens = kAccuracyTokens;
    row.group = element == KvElement::kBf16 ? 0 : kLatentGroup;
    row.equivalent_bits = code_bits / kWidth;
    row.stored_bits = 8.0 * layout.page_bytes / (kPageTokens * kWidth);
    SetErrors(LatentError(element, kind, kAccuracyTokens), row);
    rows.push_back(std::move(row));
  }
}

}  // namespace

std::vector<KvAccuracyRow> AccuracyTable(const std::vector<NamedScheme>& schemes) {
  std::vector<KvAccuracyRow> rows;
  for (const NamedScheme& named : schemes) {
    for (const int head_dim : {64, 128}) {
      AppendScheme(named, head_dim, 0, rows);
      if (named.scheme.keys.group == 0) continue;
      for (int group = 2 * named.scheme.keys.group; group <= head_dim; group *= 2)
        AppendScheme(named, head_dim, group, rows);
    }
  }
  AppendLatent("mla_bf16", KvElement::kBf16, rows);
  AppendLatent("mla_fp8", KvElement::kE4m3, rows);
  AppendLatent("mla_int4", KvElement::kInt4, rows);
  return rows;
}

std::string ToCsv(const std::vector<KvAccuracyRow>& rows) { return RowsToCsv(rows, kVisit); }

Result<std::vector<KvAccuracyRow>> ParseKvAccuracy(std::string_view text, const std::string& name) {
  return RowsFromCsv<KvAccuracyRow>(text, name, kVisit, "");
}

Result<std::vector<KvAccuracyRow>> ReadKvAccuracy(const std::filesystem::path& path) {
  SIM_TRY(const std::string text, ReadFile(path));
  return ParseKvAccuracy(text, path.string());
}

std::optional<double> OutputError(const std::vector<KvAccuracyRow>& table,
                                  const KvAccuracyKey& key) {
  for (const KvAccuracyRow& row : table) {
    if (row.scheme == key.scheme && row.layer == key.layer && row.head_dim == key.head_dim &&
        row.group == key.group && row.data == Name(KvDataKind::kRealShaped))
      return row.output_error;
  }
  return std::nullopt;
}

}  // namespace moecast::kernels
