// Event: (time, priority, sequence) and a closed set of bodies. Bodies carry ids, never pointers.
#pragma once

#include <cstdint>
#include <tuple>
#include <variant>

#include "sim/base/fingerprint.h"
#include "sim/base/ids.h"
#include "sim/base/units.h"

namespace moecast {

/// Order of events at one instant, each with its reason (INV-2).
enum class Priority : uint8_t {
  kStepDone = 0,   // finished work frees KV before anyone asks for it
  kArrival = 1,    // every arrival of an instant is queued before a batch is formed
  kFormBatch = 2,  // last, so a batch sees all work of the instant
};

/// The step in flight on `replica` ends.
struct StepDoneEvent {
  ReplicaId replica;
};
/// The next request arrives. Open loop: the one pulled ahead; closed loop: it is pulled now.
struct ArrivalEvent {};
/// `replica` may start a step if it has work.
struct FormBatchEvent {
  ReplicaId replica;
};
using EventBody = std::variant<StepDoneEvent, ArrivalEvent, FormBatchEvent>;

constexpr Priority PriorityOf(const StepDoneEvent&) { return Priority::kStepDone; }
constexpr Priority PriorityOf(const ArrivalEvent&) { return Priority::kArrival; }
constexpr Priority PriorityOf(const FormBatchEvent&) { return Priority::kFormBatch; }

constexpr ReplicaId ReplicaOf(const StepDoneEvent& body) { return body.replica; }
constexpr ReplicaId ReplicaOf(const ArrivalEvent&) { return ReplicaId{}; }
constexpr ReplicaId ReplicaOf(const FormBatchEvent& body) { return body.replica; }

struct Event {
  Time at;
  Priority priority = Priority::kArrival;
  uint64_t sequence = 0;  // order of scheduling, assigned by the queue
  EventBody body;

  /// True when this event runs before `other`.
  [[nodiscard]] bool Before(const Event& other) const {
    return std::tie(at, priority, sequence) < std::tie(other.at, other.priority, other.sequence);
  }
};

/// Adds what happened and when. The sequence number is left out: it counts how often something was
/// scheduled, which is bookkeeping, not trajectory.
inline void AddTo(Fingerprint& fingerprint, const Event& event) {
  const ReplicaId replica =
      std::visit([](const auto& body) { return ReplicaOf(body); }, event.body);
  fingerprint.Add(static_cast<uint64_t>(event.at.time_since_epoch().count()));
  fingerprint.Add((uint64_t{replica.value()} << 8U) | static_cast<uint64_t>(event.priority));
}

}  // namespace moecast
