#include "sim/cost/collective.h"

#include "sim/base/check.h"
#include "sim/cost/features.h"

namespace moecast {

CollectiveCost::CollectiveCost(const FabricSpec& fabric, const ClassEfficiency& efficiency)
    : fixed_(efficiency.fixed.count()),
      latency_(fabric.latency.count()),
      seconds_per_byte_(
          fabric.bandwidth.count() > 0 ? 1 / (fabric.bandwidth.count() * efficiency.memory) : 0) {
  SIM_CHECK(efficiency.memory > 0 && efficiency.memory <= 1);
  SIM_CHECK(fixed_ >= 0 && latency_ >= 0);
}

CollectiveWork CollectiveCost::WorkOf(const Collective& op) const {
  if (op.ranks <= 1) return {};
  const double others = static_cast<double>(op.ranks - 1);
  const double share = RemoteShare(op.ranks);
  switch (op.kind) {
    case CollectiveKind::kAllReduce: {
      const CollectiveWork direct{.wire = Bytes(others * op.bytes), .steps = 1};
      const CollectiveWork two_phase{.wire = Bytes(2 * share * op.bytes), .steps = 2};
      return TimeOf(direct) <= TimeOf(two_phase) ? direct : two_phase;
    }
    case CollectiveKind::kAllGather:
      return {.wire = Bytes(others * op.bytes), .steps = 1};
    case CollectiveKind::kReduceScatter:
    case CollectiveKind::kAllToAll:
      return {.wire = Bytes(share * op.bytes), .steps = 1};
  }
  SIM_CHECK(false);
}

CollectiveWork CollectiveCost::WorkOf(const ExpertExchange& op) {
  return {.wire = Bytes(MeanFullestRows(op) * op.bytes_per_row * RemoteShare(op.gpus)), .steps = 1};
}

}  // namespace moecast
