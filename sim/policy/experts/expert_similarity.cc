#include "sim/policy/experts/expert_similarity.h"

#include <algorithm>
#include <tuple>

#include "sim/base/check.h"

namespace moecast {

ExpertSimilarity::ExpertSimilarity(int64_t moe_layers, int64_t experts,
                                   std::vector<SimilarPair> pairs, double least)
    : moe_layers_(moe_layers), experts_(experts) {
  std::erase_if(pairs, [least](const SimilarPair& pair) { return pair.similarity < least; });
  std::ranges::sort(pairs, {}, [](const SimilarPair& pair) {
    return std::tuple(pair.moe_layer, pair.expert, -pair.similarity, pair.replacement);
  });
  first_.resize(static_cast<size_t>(moe_layers * experts) + 1);
  for (const SimilarPair& pair : pairs) {
    SIM_CHECK(pair.moe_layer >= 0 && pair.moe_layer < moe_layers);
    SIM_CHECK(pair.expert < experts && pair.replacement < experts);
    SIM_CHECK(pair.expert != pair.replacement);
    ++first_[static_cast<size_t>(pair.moe_layer * experts + pair.expert) + 1];
    order_.push_back(pair.replacement);
  }
  for (size_t i = 1; i < first_.size(); ++i) first_[i] += first_[i - 1];
}

}  // namespace moecast
