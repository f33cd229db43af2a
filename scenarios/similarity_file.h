// SimilarityFile: which experts may stand in for which, as SERE wants it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>
#include <vector>

#include "sim/base/result.h"
#include "sim/policy/experts/expert_similarity.h"

namespace moecast {

/// What the pairs of a file must belong to.
struct SimilarityShape {
  std::span<const int32_t> moe_layers;  // model layer index of each MoE layer, ascending
  int64_t experts = 0;
};

/// CSV with the header layer,expert,replacement,similarity; layer is a model layer index. A pair
/// may be absent: then the one expert never stands in for the other. ERRORS: file:line and cell:
/// wrong header, not a number, a layer without experts, an expert out of range, an expert paired
/// with itself, a pair given twice.
Result<std::vector<SimilarPair>> ParseSimilarity(std::string_view text,
                                                 const std::filesystem::path& file,
                                                 const SimilarityShape& shape);

}  // namespace moecast
