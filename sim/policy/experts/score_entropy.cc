#include "sim/policy/experts/score_entropy.h"

#include <cmath>
#include <numeric>

namespace moecast {

double NormalisedEntropy(std::span<const float> scores) {
  const double total = std::accumulate(scores.begin(), scores.end(), 0.0);
  if (scores.size() < 2 || total <= 0) return 0;
  double entropy = 0;
  for (const float score : scores) {
    const double q = score / total;
    if (q > 0) entropy -= q * std::log(q);
  }
  return entropy / std::log(static_cast<double>(scores.size()));
}

}  // namespace moecast
