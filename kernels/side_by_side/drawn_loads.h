// The routings that every implementation of a comparison computes: drawn once, written down, read
// back by the others.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/ops/expert_shape.h"
#include "kernels/ops/route/reference.h"

namespace moecast::kernels {

/// Slots of `shape.tokens` tokens with distinct experts each, uniform; a function of `seed`.
std::vector<int32_t> DrawUniformSlots(const ExpertShape& shape, uint64_t seed);

/// A routing as the comparison writes it down: one line per expert in use,
///   model,tokens,routing,expert,rows
struct LoadLines {
  std::string text = "model,tokens,routing,expert,rows\n";
  void Append(const std::string& model, int32_t tokens, int routing,
              const reference::Alignment& rows);
};

}  // namespace moecast::kernels
