#include "sim/policy/experts/aset_derived.h"

#include <algorithm>

#include "sim/policy/experts/score_entropy.h"

namespace moecast {

int64_t AsetDerived::Kept(const GateRow& row) const {
  const double relative =
      threshold.At(row.moe_layer) * (1 - penalty * NormalisedEntropy(row.scores));
  const double bound = relative * row.scores.front();
  int64_t kept = std::min(min_k, row.native_top_k);
  while (kept < row.native_top_k && row.scores[static_cast<size_t>(kept)] >= bound) ++kept;
  return kept;
}

}  // namespace moecast
