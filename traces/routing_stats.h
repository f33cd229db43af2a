// Statistics of a routing trace: popularity per layer, distinct experts of a batch, overlap of
// adjacent tokens, imbalance between expert-parallel ranks, similarity of sequences, and a sample
// of gate scores. docs/model/synthetic_routing.md and docs/traces.md define them. The way a batch
// is formed matters as much as the model, so there are three.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "sim/base/result.h"
#include "sim/base/rng.h"
#include "traces/gate_routing.h"
#include "traces/rank_persistence.h"
#include "traces/routing_chunk.h"
#include "traces/routing_reader.h"
#include "traces/sequence_similarity.h"

namespace moecast {

/// How tokens come together in a batch.
enum class BatchForming {
  kConsecutive,     // consecutive tokens of the trace in file order, windows without overlap
  kOnePerSequence,  // a random token from each of random sequences, drawn without replacement
  kRandomTokens,    // random tokens of all sequences, drawn with replacement
};

inline constexpr std::array kBatchFormings = {
    BatchForming::kConsecutive, BatchForming::kOnePerSequence, BatchForming::kRandomTokens};

struct RoutingStatsOptions {
  std::vector<int64_t> batches = {1, 4, 8, 16, 32, 64, 128, 256, 1024};
  std::vector<int64_t> ranks = {2, 4, 8};
  int64_t draws = 2000;  // random batches per size, and most windows per size (evenly spaced)
  Seed seed = {1};
  int64_t window_tokens = 1024;  // between two rebalances of experts over ranks
};

struct LayerRouting {
  int32_t layer = 0;                    // model layer index
  double max_over_mean = 0;             // fullest expert's assignments over the average
  double entropy_bits = 0;              // of the assignment shares
  std::vector<double> popularity = {};  // assignments over the average, largest first
};

struct RankImbalance {
  int64_t ranks = 0;
  double max_over_mean = 0;  // fullest rank's assignments over the average
};

/// Means over batches and MoE layers.
struct BatchRouting {
  BatchForming forming = BatchForming::kConsecutive;
  int64_t batch = 0;  // tokens
  int64_t batches_sampled = 0;
  double distinct_experts = 0;
  double independent = 0;  // E (1 - (1 - k/E)^B), of independent uniform routing
  std::vector<RankImbalance> ranks = {};
};

/// Of one phase of a trace.
struct PhaseRouting {
  RoutingPhase phase = RoutingPhase::kPrefill;
  int64_t sequences = 0;  // with tokens in this phase
  int64_t tokens = 0;
  uint64_t unknown_rows = 0;  // left out of every figure
  std::vector<LayerRouting> layers;
  /// Experts that two adjacent tokens of a sequence share, mean over pairs and layers; none when no
  /// sequence has two tokens.
  std::optional<double> adjacent_overlap;
  double independent_overlap = 0;            // k^2 / E
  std::vector<RankPersistence> persistence;  // [of options.ranks]; windows = 0: too few tokens
  std::vector<BatchRouting> batches;         // sizes the trace is too small for are left out
  SequenceSimilarity similarity;
  GateRows gate_rows;                // empty when the trace has no scores
  std::optional<GateRouting> gates;  // of gate_rows; whoever knows the rules fills it
};

struct RoutingStats {
  RoutingHeader header;
  RoutingStatsOptions options;
  std::vector<PhaseRouting> phases;  // those with tokens
};

/// All rows of one phase, in file order.
struct PhaseRows {
  std::vector<uint16_t> ids;                  // [token][MoE layer][k]
  std::vector<int64_t> sequence_first = {0};  // [sequence + 1]: first token of each, then the total
  std::vector<std::string> categories = {};   // [sequence], or empty: none has one
};

/// Distinct experts that `batch` tokens choose under independent uniform routing:
/// E (1 - (1 - k/E)^B).
double IndependentDistinct(const RoutingHeader& header, int64_t batch);

/// Statistics of the rows. REQUIRES: at least one token; batches and ranks >= 1.
PhaseRouting Measure(const RoutingHeader& header, const PhaseRows& rows, RoutingPhase phase,
                     const RoutingStatsOptions& options);

/// Reads the whole trace into memory, once, and measures each phase. ERRORS: the reader's; more ids
/// than kMaxStatsIds.
Result<RoutingStats> MeasureTrace(RoutingReader reader, const RoutingStatsOptions& options);

inline constexpr uint64_t kMaxStatsIds = uint64_t{1} << 32;

}  // namespace moecast
