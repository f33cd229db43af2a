#include "sim/policy/experts/eac_prefill.h"

namespace moecast {

void EacPrefill::Filter(int64_t tokens, int64_t top_k, std::span<uint32_t> counts) const {
  const double even =
      static_cast<double>(tokens) * static_cast<double>(top_k) / static_cast<double>(counts.size());
  const double least = threshold * even;
  for (uint32_t& count : counts) count = static_cast<double>(count) < least ? 0 : count;
}

}  // namespace moecast
