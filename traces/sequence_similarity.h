// Do sequences use the same experts? Cosine similarity of their expert counts.
#pragma once

#include <cstddef>
#include <cstdint>

#include "sim/base/rng.h"
#include "traces/routing_chunk.h"

namespace moecast {

struct PhaseRows;

struct PairSimilarity {
  int64_t pairs = 0;
  double mean = 0;  // of pairs; 0 without any
};

/// Of each sequence the vector of assignments [MoE layer][expert]; of each pair of sequences the
/// cosine of their vectors: 0 no expert in common, 1 equal shares. Chance noise of short sequences
/// lowers it, so compare within to between and not traces of different lengths.
struct SequenceSimilarity {
  int64_t sequences = 0;  // compared, each with each
  PairSimilarity all;
  PairSimilarity within = {};   // pairs of one category, of sequences that have one
  PairSimilarity between = {};  // pairs of two categories
};

/// Most sequences compared; of more a random subset.
inline constexpr size_t kMaxSimilaritySequences = 256;

/// COST: kMaxSimilaritySequences vectors of memory.
SequenceSimilarity MeasureSimilarity(const RoutingHeader& header, const PhaseRows& rows, Seed seed);

}  // namespace moecast
