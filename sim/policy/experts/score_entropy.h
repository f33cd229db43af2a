// How undecided the router is about a row.
#pragma once

#include <span>

namespace moecast {

/// H = -sum q_j ln q_j / ln k in [0, 1], q the k scores over their sum.
/// RETURNS: 0 for one score or a sum of 0.
double NormalisedEntropy(std::span<const float> scores);

}  // namespace moecast
