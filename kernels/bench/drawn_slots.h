// Expert choices that a router of random weights does not make: some experts popular, as a trained
// model's are.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/ops/expert_shape.h"

namespace moecast::kernels {

/// [T * k] experts: a token draws `kept` of them without replacement, with probabilities
/// 1 / rank^exponent; its other slots are skipped, E. Which expert has which rank is drawn as well,
/// both by `draw`: equal numbers give equal slots.
/// REQUIRES: kept <= shape.top_k. COST: T * E logarithms.
std::vector<int32_t> DrawZipfSlots(const ExpertShape& shape, double exponent, int32_t kept,
                                   uint64_t draw);

}  // namespace moecast::kernels
