#include "sim/policy/router.h"

#include <gtest/gtest.h>

#include <vector>

namespace moecast {
namespace {

ReplicaView Replica(uint32_t id, int64_t waiting, int64_t running, int64_t kv_used,
                    int64_t kv_total = 100) {
  return {.id = ReplicaId(id),
          .waiting_requests = waiting,
          .running_requests = running,
          .kv_tokens_used = kv_used,
          .kv_tokens_total = kv_total};
}

uint32_t Pick(Router router, const std::vector<ReplicaView>& replicas) {
  return PickReplica(router, {}, replicas).value();
}

TEST(Router, RoundRobinVisitsReplicasInTurnWhateverTheirLoad) {
  const std::vector<ReplicaView> replicas = {Replica(0, 9, 9, 99), Replica(1, 0, 0, 0),
                                             Replica(2, 5, 5, 50)};
  Router router = RoundRobin{};
  std::vector<uint32_t> picked(7);
  for (uint32_t& replica : picked) replica = PickReplica(router, {}, replicas).value();
  EXPECT_EQ(picked, (std::vector<uint32_t>{0, 1, 2, 0, 1, 2, 0}));
}

TEST(Router, LeastRequestsCountsWaitingAndRunning) {
  EXPECT_EQ(Pick(LeastRequests{}, {Replica(0, 3, 1, 0), Replica(1, 0, 3, 99)}), 1U);
}

TEST(Router, LeastRequestsBreaksTiesByLowestId) {
  EXPECT_EQ(Pick(LeastRequests{}, {Replica(0, 2, 2, 0), Replica(1, 1, 2, 9), Replica(2, 3, 0, 0)}),
            1U);
}

TEST(Router, LeastKvComparesSharesNotTokens) {
  EXPECT_EQ(Pick(LeastKv{}, {Replica(0, 0, 0, 50, 100), Replica(1, 9, 9, 60, 200)}), 1U);
}

TEST(Router, LeastKvBreaksTiesByRequestsThenByLowestId) {
  EXPECT_EQ(Pick(LeastKv{}, {Replica(0, 2, 2, 10, 30), Replica(1, 1, 2, 20, 60)}), 1U);
  EXPECT_EQ(Pick(LeastKv{}, {Replica(0, 2, 1, 10, 30), Replica(1, 1, 2, 20, 60)}), 0U);
}

TEST(RouterDeathTest, PickingFromNoReplicaIsAProgramError) {
  Router router = RoundRobin{};
  EXPECT_DEATH(PickReplica(router, {}, {}), "empty");
}

}  // namespace
}  // namespace moecast
