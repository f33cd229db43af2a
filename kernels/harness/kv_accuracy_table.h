// KvAccuracyRow: one row of kernels/data/kv_accuracy.csv, which a policy may show beside its speed.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/harness/kv_schemes.h"
#include "sim/base/result.h"

namespace moecast::kernels {

struct KvAccuracyRow {
  std::string scheme;  // of kv_schemes.csv, or mla_bf16, mla_fp8, mla_int4
  std::string layer;
  std::string data;  // KvDataKind
  double head_dim = 0;
  double tokens = 0;
  double group = 0;  // of values where keys differ
  double equivalent_bits = 0;
  double stored_bits = 0;  // at `tokens`
  double key_error = 0;    // relative Frobenius, of the cached numbers
  double value_error = 0;
  double output_error = 0;  // and of the attention output
};

/// Every scheme on every kind of data at both head widths, groups as stated and, of schemes with
/// groups of their own, 64 and 128; then the latents. COST: some seconds.
std::vector<KvAccuracyRow> AccuracyTable(const std::vector<NamedScheme>& schemes);

std::string ToCsv(const std::vector<KvAccuracyRow>& rows);
/// ERRORS: as ParseCsv, a missing or an unknown column, a cell that is no number.
Result<std::vector<KvAccuracyRow>> ParseKvAccuracy(std::string_view text, const std::string& name);
Result<std::vector<KvAccuracyRow>> ReadKvAccuracy(const std::filesystem::path& path);

/// A row of the table on real-shaped data.
struct KvAccuracyKey {
  std::string scheme;
  std::string layer = "all";
  int32_t head_dim = 0;
  int32_t group = 0;  // of values
};
/// nullopt where the table has no such row.
std::optional<double> OutputError(const std::vector<KvAccuracyRow>& table,
                                  const KvAccuracyKey& key);

}  // namespace moecast::kernels
