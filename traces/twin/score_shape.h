// The shape of gate scores: how far ranked scores lie apart, and how much the experts not chosen
// have. docs/model/twin.md, Eqs. W6-W7.
#pragma once

#include <cstdint>
#include <vector>

#include "traces/routing_chunk.h"
#include "traces/twin/routing_twin.h"

namespace moecast {

/// Adds up the rows of chunks, then Shape. Scores that are shares of a softmax keep their share of
/// all experts; others, which add up to more than 1, keep their ratios only.
class ScoreShape {
 public:
  explicit ScoreShape(const RoutingHeader& header);
  /// REQUIRES: chunk.scores has the shape of its ids.
  void Add(const RoutingChunk& chunk);
  [[nodiscard]] TwinScores Shape() const;

 private:
  size_t layers_;
  size_t top_k_;
  float least_;                  // a score of 0 stands for less than half a unit
  std::vector<double> gaps_;     // [layer][rank]: sums
  std::vector<double> outside_;  // [layer]: sum of 1 - row sum
  std::vector<double> last_;     // [layer]: sum of the k-th score
  std::vector<int64_t> rows_;    // [layer]
  bool shares_ = true;           // every row so far adds up to 1 at most
};

}  // namespace moecast
