// The figures by which a twin is fitted: measured alike on a trace and on what a twin draws.
// docs/model/twin.md, "Fit".
#pragma once

#include <cstdint>
#include <vector>

#include "sim/base/rng.h"
#include "traces/twin/twin_sample.h"

namespace moecast {

struct TwinMomentOptions {
  size_t domains = 1;
  int64_t far_lag = 64;            // tokens so far apart have only the sequence in common
  int64_t group_size = 0;          // 0: none
  int64_t across_pairs = 1 << 15;  // random pairs of tokens of two sequences
  Seed seed = {1};
};

/// Overlap is the number of experts that two tokens share at a layer.
struct TwinMoments {
  std::vector<double> inclusion;    // [domain][layer][expert]: share of rows that have the expert
  std::vector<double> adjacent;     // [layer]: overlap of adjacent tokens
  std::vector<double> windows;      // [i]: distinct experts of 2^(i+1) tokens in a row, to far_lag
  std::vector<double> far;          // [layer]: overlap of tokens far_lag or more apart
  std::vector<double> across;       // [layer]: overlap of tokens of two sequences
  std::vector<double> in_domain;    // [layer]: of two sequences of one domain
  std::vector<double> pooled;       // [layer]: sum over experts of the square of inclusion
  std::vector<double> group_pairs;  // [layer]: pairs of a row's experts in one group
  double across_covariance = 0;     // of the overlaps of two layers, same two tokens, mean
  double across_third = 0;          // third central moment of a pair's mean overlap
};

/// COST: about 20 ns per (token, layer). REQUIRES: tokens >= 1.
TwinMoments MeasureMoments(const TwinSample& sample, const TwinMomentOptions& options);

/// Same-group pairs per row at each layer for blocks of `size` experts.
std::vector<double> GroupPairs(const TwinSample& sample, int64_t size);

}  // namespace moecast
