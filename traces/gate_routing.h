// Gate scores of a trace: a bounded sample of its rows, and what is measured on them. The rules
// that leave experts out live in a later layer; sim/replay/gate_measures.h fills GateRouting.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "traces/routing_chunk.h"

namespace moecast {

/// Scores of rows that were recorded and have a positive sum.
struct GateRows {
  size_t top_k = 0;
  std::vector<int64_t> moe_layer = {};  // [row], index among MoE layers
  std::vector<float> scores = {};       // [row][top_k], rank order
};

/// Most scores a sample holds, of one phase.
inline constexpr uint64_t kMaxGateScores = uint64_t{1} << 19;

/// Takes evenly spaced tokens of one phase with all their layers, as many as kMaxGateScores holds
/// and at least one.
class GateRowSampler {
 public:
  /// `tokens`: of the phase, all of which will be added.
  GateRowSampler(const RoutingHeader& header, uint64_t tokens);
  /// COST: that of the tokens taken. REQUIRES: the header has scores.
  void Add(const RoutingChunk& chunk);
  [[nodiscard]] GateRows Take() && { return std::move(rows_); }

 private:
  size_t layers_;
  uint64_t tokens_;
  uint64_t wanted_;    // tokens to take
  uint64_t seen_ = 0;  // tokens added
  GateRows rows_;
};

/// Of H = -sum q_j ln q_j / ln k, q the scores of a row's k experts over their sum: 0 when one
/// expert has all, 1 when they are equal.
struct ScoreEntropy {
  int32_t layer = 0;  // model layer index
  int64_t rows = 0;
  double mean = 0;
  double p10 = 0;
  double p50 = 0;
  double p90 = 0;
};

/// The tightest parameter of a rule that keeps `wanted` experts of a row on average.
struct RuleSetting {
  int64_t wanted = 0;
  double parameter = 0;
  double mean_kept = 0;  // above `wanted` by less than one row, more where rows have equal scores
  double kept_mass = 0;  // scores of kept experts over those of all k, sums over rows
};

struct KeptCurve {
  std::string rule;       // as scenarios name it
  std::string parameter;  // likewise
  std::optional<double> penalty = {};
  std::vector<RuleSetting> settings = {};  // wanted ascending, those the rule can reach
  double fewest = 0;                       // mean kept experts at the tightest parameter
};

struct GateRouting {
  int64_t rows = 0;  // sampled
  std::vector<ScoreEntropy> entropy;
  std::vector<KeptCurve> curves;
};

}  // namespace moecast
