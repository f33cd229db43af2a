// KvErrors: how far attention over a quantised cache is from bf16, as this project's own reference
// measured it on drawn heads. A property of the scheme, not of a model, and no quality.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sim/base/result.h"

namespace moecast {

struct Scenario;

class KvErrors {
 public:
  /// The heads whose errors are told: keys with the outlier channels that real ones have.
  static constexpr std::string_view kData = "real_shaped";

  KvErrors() = default;
  /// Rows of a CSV as `moecast_kv_accuracy` writes it; `file` is for messages.
  static Result<KvErrors> Parse(std::string_view text, const std::filesystem::path& file);

  /// Relative Frobenius error of the attention output, mean over the layers that cache. Nothing
  /// where a layer's scheme, bits and head width were not measured, where tokens are dropped or
  /// left out, or where sequences are kept in two ways.
  [[nodiscard]] std::optional<double> Of(const Scenario& scenario) const;

 private:
  struct Row {
    std::string scheme;
    std::string layer;  // "all", or the codes of keys and values
    int64_t head_dim = 0;
    double equivalent_bits = 0;
    double stored_bits = 0;
    double output_error = 0;
  };
  std::vector<Row> rows_;  // of kData
};

}  // namespace moecast
