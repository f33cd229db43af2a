// Event: (time, priority, sequence) and a closed set of bodies. Bodies carry ids, never pointers.
#pragma once

#include <compare>
#include <cstdint>
#include <variant>

#include "sim/base/ids.h"
#include "sim/base/units.h"

namespace moecast {

/// Order of events at one instant, each with its reason (INV-2).
enum class Priority : uint8_t {
  kStepDone = 0,   // finished work frees KV before anyone asks for it
  kArrival = 1,    // every arrival of an instant is queued before a batch is formed
  kFormBatch = 2,  // last, so a batch sees all work of the instant
};

struct ArrivalEvent {};                      // the pulled request arrives
struct StepDoneEvent { ReplicaId replica; };
struct FormBatchEvent { ReplicaId replica; };
using EventBody = std::variant<StepDoneEvent, ArrivalEvent, FormBatchEvent>;

struct Event {
  Time at;
  Priority priority = Priority::kArrival;
  uint64_t sequence = 0;  // order of scheduling, assigned by the queue
  EventBody body;
};

}  // namespace moecast
