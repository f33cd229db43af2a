// Will balancing help? Loads of expert-parallel ranks window by window: does a hot rank stay hot
// until a rebalance that saw it takes effect, and what would replicas of hot experts bring then.
// docs/model/balance.md has the definitions.
#pragma once

#include <cstdint>
#include <vector>

#include "traces/routing_chunk.h"

namespace moecast {

struct PhaseRows;

struct PersistenceOptions {
  int64_t ranks = 8;
  int64_t window_tokens = 1024;                    // between two rebalances
  std::vector<int64_t> replicas = {0, 8, 16, 32};  // experts held twice or more, in all
};

/// Max/mean of rank loads, mean over layers and windows but the first.
struct ReplicaForecast {
  int64_t replicas = 0;  // rounded up, so that every rank has as many slots
  double planned = 0;    // placed by the loads of the window before
  double oracle = 0;     // placed by the window's own
};

struct RankPersistence {
  int64_t windows = 0;
  double max_over_mean = 0;       // of contiguous blocks of experts, mean over windows and layers
  std::vector<double> by_window;  // [window] the same, mean over layers
  double of_totals = 0;           // of the same over all windows together: what lasts
  double next_correlation = 0;    // of a rank's share in adjacent windows, within layers
  double still_fullest = 0;       // chance that the fullest rank is the fullest in the next window
  std::vector<ReplicaForecast> forecasts;
};

/// Windows of consecutive tokens in file order. RETURNS: windows = 0 when there are fewer than two.
/// REQUIRES: 1 <= ranks <= experts, window_tokens >= 1.
RankPersistence MeasurePersistence(const RoutingHeader& header, const PhaseRows& rows,
                                   const PersistenceOptions& options);

/// Slots of each rank as experts, [rank][slot]: the greedy plan of EPLB. Each replica goes to the
/// expert with the most load per copy; copies go, largest first, to the emptiest rank with a free
/// slot. REQUIRES: (loads.size() + replicas) is a multiple of ranks.
std::vector<std::vector<size_t>> PlanReplicas(const std::vector<double>& loads, int64_t ranks,
                                              int64_t replicas);

}  // namespace moecast
