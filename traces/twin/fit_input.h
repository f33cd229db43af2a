// What a fit reads of traces: rows as bitmaps, domains, lengths and the shape of scores.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "sim/base/result.h"
#include "traces/routing_chunk.h"
#include "traces/twin/routing_twin.h"
#include "traces/twin/twin_sample.h"

namespace moecast {

struct FitInput {
  RoutingHeader header;
  TwinSample sample;
  std::vector<std::string> domains;
  TwinScores scores;                   // empty without scores
  std::vector<double> prefill_tokens;  // quantiles of lengths, as a twin has them
  std::vector<double> decode_tokens;
  int64_t left_out = 0;  // sequences beyond what fits into memory
  uint64_t unknown_rows = 0;
};

struct FitReadOptions {
  bool one_domain = false;      // do not tell categories apart
  size_t most_domains = 16;     // the largest categories; the rest together are "other"
  int64_t least_sequences = 8;  // of a domain
};

/// Reads traces of one shape. Of more than kMaxFitWords bitmap words, sequences are left out
/// evenly. ERRORS: the reader's; traces of different shapes; fewer than two sequences.
Result<FitInput> ReadFitInput(const std::vector<std::filesystem::path>& traces,
                              const FitReadOptions& options);

inline constexpr uint64_t kMaxFitWords = uint64_t{1} << 26;  // 512 MiB

}  // namespace moecast
