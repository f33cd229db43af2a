// Routers between replicas: asked with read-only views, answer with a replica. (Not expert
// routing.)
#pragma once

#include <cstdint>
#include <span>
#include <variant>

#include "sim/base/ids.h"

namespace moecast {

/// What a router may see of a replica.
struct ReplicaView {
  ReplicaId id;
  int64_t waiting_requests = 0;
  int64_t running_requests = 0;
  int64_t kv_tokens_used = 0;
  int64_t kv_tokens_total = 0;
};

/// What a policy may see of a request: no output length, so no policy can cheat (INV-5).
struct RequestView {
  RequestId id;
  int64_t input_tokens = 0;
};

struct RoundRobin {
  uint64_t next = 0;
  ReplicaId Pick(const RequestView& request, std::span<const ReplicaView> replicas);
};
/// Fewest waiting + running requests; ties go to the lowest id.
struct LeastRequests {
  ReplicaId Pick(const RequestView& request, std::span<const ReplicaView> replicas);
};
/// Smallest share of KV in use, then fewest requests; ties go to the lowest id.
/// REQUIRES: kv_tokens_total > 0.
struct LeastKv {
  ReplicaId Pick(const RequestView& request, std::span<const ReplicaView> replicas);
};

using Router = std::variant<RoundRobin, LeastRequests, LeastKv>;

/// REQUIRES: replicas not empty, ordered by id.
ReplicaId PickReplica(Router& router, const RequestView& request,
                      std::span<const ReplicaView> replicas);

}  // namespace moecast
