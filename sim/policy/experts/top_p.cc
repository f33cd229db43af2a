#include "sim/policy/experts/top_p.h"

#include <numeric>

namespace moecast {

int64_t TopP::Kept(const GateRow& row) const {
  const double total = std::accumulate(row.scores.begin(), row.scores.end(), 0.0);
  const double wanted = mass.At(row.moe_layer) * total;
  int64_t kept = 1;
  double held = row.scores.front();
  while (kept < row.native_top_k && held < wanted) {
    held += row.scores[static_cast<size_t>(kept)];
    ++kept;
  }
  return kept;
}

}  // namespace moecast
