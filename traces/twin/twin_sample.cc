#include "traces/twin/twin_sample.h"

#include <algorithm>
#include <bit>

namespace moecast {

void TwinSample::AddSequence(uint32_t domain) {
  domains_.push_back(domain);
  first_.push_back(first_.back());
}

void TwinSample::Add(const RoutingChunk& chunk) {
  const size_t rows = static_cast<size_t>(chunk.tokens) * layers_;
  const size_t begin = bits_.size();
  bits_.resize(begin + rows * words_);
  for (size_t r = 0; r < rows; ++r) {
    if (chunk.ids[r * top_k_] == kUnknownExpert) continue;
    uint64_t* row = bits_.data() + begin + r * words_;
    for (size_t rank = 0; rank < top_k_; ++rank) {
      const uint16_t id = chunk.ids[r * top_k_ + rank];
      row[id / 64] |= uint64_t{1} << (id % 64);
    }
  }
  first_.back() += chunk.tokens;
}

int64_t Overlap(std::span<const uint64_t> a, std::span<const uint64_t> b) {
  int64_t shared = 0;
  for (size_t w = 0; w < a.size(); ++w) shared += std::popcount(a[w] & b[w]);
  return shared;
}

bool IsKnown(std::span<const uint64_t> row) {
  return std::any_of(row.begin(), row.end(), [](uint64_t word) { return word != 0; });
}

}  // namespace moecast
