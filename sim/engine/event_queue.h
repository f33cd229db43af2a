// EventQueue: what happens next. Pops in (time, priority, order of scheduling), which is a total
// order, so a run does not depend on the heap's layout (INV-2). Not thread-safe; one per simulator.
#pragma once

#include <boost/heap/d_ary_heap.hpp>
#include <cstddef>
#include <cstdint>

#include "sim/engine/event.h"

namespace moecast {

class EventQueue {
 public:
  /// Schedules `body` with its own priority. An event at the current instant is queued, never run
  /// inline. REQUIRES: `at` is not before the last popped event. COST: O(log4 size).
  void Schedule(Time at, EventBody body);

  [[nodiscard]] bool empty() const { return heap_.empty(); }
  [[nodiscard]] size_t size() const { return heap_.size(); }
  /// Time of the next event. REQUIRES: not empty.
  [[nodiscard]] Time NextTime() const { return heap_.top().at; }
  /// Removes and returns the next event. REQUIRES: not empty. COST: O(log4 size).
  Event Pop();

 private:
  struct Later {
    bool operator()(const Event& a, const Event& b) const { return b.Before(a); }
  };
  // Four children share a cache line or two, and thousands of replicas stay within six levels.
  boost::heap::d_ary_heap<Event, boost::heap::arity<4>, boost::heap::compare<Later>> heap_;
  uint64_t scheduled_ = 0;
  Time last_popped_;
};

}  // namespace moecast
