// TwinSample: rows of a trace as bitmaps, sequence by sequence, ready to be compared with one
// another. What a twin is fitted to, and what it draws to be compared with that.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "traces/routing_chunk.h"

namespace moecast {

/// A bitmap of zeros is an unknown row: a known one has k >= 1 bits.
class TwinSample {
 public:
  explicit TwinSample(const RoutingHeader& header)
      : layers_(header.moe_layers.size()),
        experts_(static_cast<size_t>(header.experts)),
        words_((experts_ + 63) / 64),
        top_k_(static_cast<size_t>(header.top_k)) {}

  /// Begins a sequence of a domain.
  void AddSequence(uint32_t domain);
  /// Appends the tokens of `chunk` to the last sequence.
  void Add(const RoutingChunk& chunk);

  [[nodiscard]] size_t layers() const { return layers_; }
  [[nodiscard]] size_t experts() const { return experts_; }
  [[nodiscard]] size_t words() const { return words_; }
  [[nodiscard]] size_t top_k() const { return top_k_; }
  [[nodiscard]] size_t sequences() const { return domains_.size(); }
  [[nodiscard]] size_t domain(size_t sequence) const { return domains_[sequence]; }
  [[nodiscard]] int64_t first(size_t sequence) const { return first_[sequence]; }
  [[nodiscard]] int64_t end(size_t sequence) const { return first_[sequence + 1]; }
  [[nodiscard]] int64_t tokens() const { return first_.back(); }
  [[nodiscard]] int64_t tokens_of(size_t sequence) const { return end(sequence) - first(sequence); }
  /// The experts of one token at one layer, bit e of word e / 64.
  [[nodiscard]] std::span<const uint64_t> row(int64_t token, size_t layer) const {
    return std::span(bits_).subspan((static_cast<size_t>(token) * layers_ + layer) * words_,
                                    words_);
  }

  /// All rows of a sequence, [token][layer][word].
  [[nodiscard]] std::span<const uint64_t> rows(size_t sequence) const {
    const size_t token = layers_ * words_;
    return std::span(bits_).subspan(static_cast<size_t>(first_[sequence]) * token,
                                    static_cast<size_t>(tokens_of(sequence)) * token);
  }

 private:
  size_t layers_;
  size_t experts_;
  size_t words_;
  size_t top_k_;
  std::vector<uint64_t> bits_;        // [token][layer][word]
  std::vector<int64_t> first_ = {0};  // [sequence + 1]
  std::vector<uint32_t> domains_;     // [sequence]
};

/// Experts that two rows share; 0 when either is unknown.
int64_t Overlap(std::span<const uint64_t> a, std::span<const uint64_t> b);
bool IsKnown(std::span<const uint64_t> row);

}  // namespace moecast
