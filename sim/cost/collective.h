// Alpha-beta cost of collectives on a symmetric fabric where every GPU reaches every other at once:
// a step costs one latency, and bytes leave a GPU at its link rate. docs/model/collectives.md.
#pragma once

#include "sim/base/units.h"
#include "sim/cost/efficiency.h"
#include "sim/model/hardware.h"
#include "sim/model/op.h"

namespace moecast {

/// What a collective costs before it is run: bytes one GPU sends and latencies it waits for.
struct CollectiveWork {
  Bytes wire{};      // leaves the busiest GPU
  double steps = 0;  // a count of dependent messages
};

/// Prices collectives of one fabric; reciprocals are taken once.
class CollectiveCost {
 public:
  /// A replica of one GPU has no collectives and may leave the fabric's bandwidth zero.
  CollectiveCost(const FabricSpec& fabric, const ClassEfficiency& efficiency);

  /// The fastest algorithm's work: all-reduce is direct (one step, whole vectors) when short and
  /// reduce-scatter then all-gather when long; the others are direct. [Thakur05]
  [[nodiscard]] CollectiveWork WorkOf(const Collective& op) const;
  /// RETURNS: fixed + steps * latency + wire / (bandwidth * efficiency).
  [[nodiscard]] Seconds Time(const Collective& op) const { return TimeOf(WorkOf(op)); }
  /// One direction of the expert all-to-all, mean over MoE layers: a direct exchange.
  [[nodiscard]] static CollectiveWork WorkOf(const ExpertExchange& op);
  [[nodiscard]] Seconds TimeOf(const CollectiveWork& work) const {
    return Seconds(fixed_ + work.steps * latency_ + work.wire.count() * seconds_per_byte_);
  }
  [[nodiscard]] Seconds Transfer(Bytes wire) const {
    return Seconds(wire.count() * seconds_per_byte_);
  }

 private:
  double fixed_;    // seconds
  double latency_;  // seconds
  double seconds_per_byte_;
};

/// Bytes the fullest GPU sends per row it holds in a direct all-to-all over `ranks` GPUs: all but
/// its own share.
constexpr double RemoteShare(int64_t ranks) {
  return static_cast<double>(ranks - 1) / static_cast<double>(ranks);
}

}  // namespace moecast
