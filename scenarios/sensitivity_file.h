// SensitivityFile: what a layer loses with k experts, measured by somebody, for Alloc-L.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>
#include <vector>

#include "sim/base/result.h"

namespace moecast {

/// CSV with the header layer,k,loss; layer is a model layer index, loss is in any unit, lower is
/// better. Every MoE layer needs every k from 1 to top_k.
/// RETURNS: loss [moe_layer][k - 1]. ERRORS: file:line and cell: wrong header, not a number, a
/// layer without experts, k out of range, a pair given twice or missing.
Result<std::vector<std::vector<double>>> ParseSensitivity(std::string_view text,
                                                          const std::filesystem::path& file,
                                                          std::span<const int32_t> moe_layers,
                                                          int64_t top_k);

}  // namespace moecast
