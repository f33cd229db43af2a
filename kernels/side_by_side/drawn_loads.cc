#include "kernels/side_by_side/drawn_loads.h"

#include <algorithm>
#include <numeric>

#include "sim/base/rng.h"

namespace moecast::kernels {

std::vector<int32_t> DrawUniformSlots(const ExpertShape& shape, uint64_t seed) {
  RngStream rng({.seed = seed}, "kernels/side_by_side");
  std::vector<int32_t> experts(static_cast<size_t>(shape.experts));
  std::iota(experts.begin(), experts.end(), 0);
  std::vector<int32_t> slots;
  for (int32_t token = 0; token < shape.tokens; ++token) {
    for (int32_t j = 0; j < shape.top_k; ++j) {
      const auto left = static_cast<double>(shape.experts - j);
      const auto drawn =
          j + std::min(static_cast<int32_t>(left * rng.NextUniform()), shape.experts - j - 1);
      std::swap(experts[static_cast<size_t>(j)], experts[static_cast<size_t>(drawn)]);
      slots.push_back(experts[static_cast<size_t>(j)]);
    }
  }
  return slots;
}

void LoadLines::Append(const std::string& model, int32_t tokens, int routing,
                       const reference::Alignment& rows) {
  const std::string prefix =
      model + ',' + std::to_string(tokens) + ',' + std::to_string(routing) + ',';
  for (size_t i = 0; i < rows.active_experts.size(); ++i)
    text += prefix + std::to_string(rows.active_experts[i]) + ',' +
            std::to_string(rows.offsets[i + 1] - rows.offsets[i]) + '\n';
}

}  // namespace moecast::kernels
