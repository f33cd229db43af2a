#include "sim/cost/kernel_features.h"

#include <algorithm>

namespace moecast {
namespace {

constexpr std::array<std::string_view, kFeatureCount> kNames{"tokens",
                                                             "assignments",
                                                             "distinct",
                                                             "padded_rows",
                                                             "max_load",
                                                             "hidden",
                                                             "intermediate",
                                                             "experts",
                                                             "top_k",
                                                             "n",
                                                             "k",
                                                             "batch",
                                                             "context",
                                                             "pairs",
                                                             "heads",
                                                             "kv_bytes_per_token",
                                                             "new_tokens",
                                                             "max_context",
                                                             "kv_heads",
                                                             "head_dim",
                                                             "key_bits",
                                                             "value_bits",
                                                             "group",
                                                             "residual",
                                                             "window",
                                                             "selected_tokens",
                                                             "width",
                                                             "ranks",
                                                             "message_bytes",
                                                             "bytes",
                                                             "flops",
                                                             "multiprocessors",
                                                             "cache_bytes"};

}  // namespace

std::string_view FeatureName(Feature feature) { return kNames[static_cast<size_t>(feature)]; }

std::optional<Feature> FeatureNamed(std::string_view name) {
  const auto* const found = std::find(kNames.begin(), kNames.end(), name);
  if (found == kNames.end()) return std::nullopt;
  return static_cast<Feature>(found - kNames.begin());
}

}  // namespace moecast
