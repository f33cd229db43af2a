#include "sim/policy/router.h"

#include <algorithm>
#include <tuple>

#include "sim/base/check.h"

namespace moecast {
namespace {

int64_t RequestsOn(const ReplicaView& replica) {
  return replica.waiting_requests + replica.running_requests;
}

double KvShare(const ReplicaView& replica) {
  SIM_CHECK(replica.kv_tokens_total > 0);
  return static_cast<double>(replica.kv_tokens_used) / static_cast<double>(replica.kv_tokens_total);
}

}  // namespace

ReplicaId RoundRobin::Pick(const RequestView& /*request*/, std::span<const ReplicaView> replicas) {
  return replicas[next++ % replicas.size()].id;
}

ReplicaId LeastRequests::Pick(const RequestView& /*request*/,
                              std::span<const ReplicaView> replicas) {
  return std::ranges::min_element(replicas, {}, RequestsOn)->id;
}

ReplicaId LeastKv::Pick(const RequestView& /*request*/, std::span<const ReplicaView> replicas) {
  const auto key = [](const ReplicaView& r) { return std::tuple(KvShare(r), RequestsOn(r)); };
  return std::ranges::min_element(replicas, {}, key)->id;
}

ReplicaId PickReplica(Router& router, const RequestView& request,
                      std::span<const ReplicaView> replicas) {
  SIM_CHECK(!replicas.empty());
  return std::visit([&](auto& policy) { return policy.Pick(request, replicas); }, router);
}

}  // namespace moecast
