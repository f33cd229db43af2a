#include "kernels/bench/drawn_slots.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "sim/base/rng.h"

namespace moecast::kernels {

// The largest of log p plus a Gumbel variate each. [Vieira14]
std::vector<int32_t> DrawZipfSlots(const ExpertShape& shape, double exponent, int32_t kept,
                                   uint64_t draw) {
  RngStream rng({.seed = draw}, "kernels/drawn_slots");
  const auto experts = static_cast<size_t>(shape.experts);
  std::vector<int32_t> of_rank(experts);
  std::iota(of_rank.begin(), of_rank.end(), 0);
  for (size_t i = experts; i > 1; --i) std::swap(of_rank[i - 1], of_rank[rng.NextBelow(i)]);
  std::vector<int32_t> slots;
  std::vector<std::pair<double, int32_t>> keys(experts);
  for (int32_t token = 0; token < shape.tokens; ++token) {
    for (size_t rank = 0; rank < experts; ++rank) {
      const double gumbel = -std::log(-std::log(1 - rng.NextUniform()));
      keys[rank] = {exponent * std::log(static_cast<double>(rank) + 1) - gumbel, of_rank[rank]};
    }
    std::partial_sort(keys.begin(), keys.begin() + kept, keys.end());
    for (int32_t j = 0; j < shape.top_k; ++j)
      slots.push_back(j < kept ? keys[static_cast<size_t>(j)].second : shape.experts);
  }
  return slots;
}

}  // namespace moecast::kernels
