#include "sim/policy/experts/aset_derived.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace moecast {
namespace {

/// Entropy of the scores' distribution over its largest value ln k. RETURNS: 0 for one score.
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

}  // namespace

int64_t AsetDerived::Kept(const GateRow& row) const {
  const double relative =
      threshold.At(row.moe_layer) * (1 - penalty * NormalisedEntropy(row.scores));
  const double bound = relative * row.scores.front();
  int64_t kept = std::min(min_k, row.native_top_k);
  while (kept < row.native_top_k && row.scores[static_cast<size_t>(kept)] >= bound) ++kept;
  return kept;
}

}  // namespace moecast
