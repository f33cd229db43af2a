#include "sim/policy/experts/ratio_to_best.h"

namespace moecast {

int64_t RatioToBest::Kept(const GateRow& row) const {
  const double bound = threshold.At(row.moe_layer) * row.scores.front();
  int64_t kept = 1;
  while (kept < row.native_top_k && row.scores[static_cast<size_t>(kept)] >= bound) ++kept;
  return kept;
}

}  // namespace moecast
