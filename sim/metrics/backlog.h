// Backlog: how long a queue each arrival found, thinned to a bounded number of samples, and the
// verdict read from it. docs/model/metrics.md, "Verdict".
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sim/metrics/summary.h"

namespace moecast {

/// Queue lengths found by every `stride`-th arrival, in order.
struct QueueSamples {
  std::span<const int64_t> found;
  int64_t stride = 1;
};

/// Over n arrivals with m_1..m_4 the mean queue found by each quarter of them:
/// OVERLOADED when m_2-m_1, m_3-m_2 and m_4-m_3 each exceed one in fifty of a quarter's arrivals;
/// else BACKLOGGED when the last sixteenth found, on average, n/50 more than the emptiest quarter;
/// else STABLE. RETURNS: kStable for fewer than sixteen samples, too few to see a trend.
Verdict Judge(const QueueSamples& samples);

class Backlog {
 public:
  /// An arrival found `waiting` requests in the queues of the cluster.
  void OnArrival(int64_t waiting);
  [[nodiscard]] Verdict Judge() const {
    return moecast::Judge({.found = found_, .stride = stride_});
  }

 private:
  std::vector<int64_t> found_;
  int64_t stride_ = 1;
  int64_t until_next_ = 0;
};

}  // namespace moecast
