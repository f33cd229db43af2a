#include "sim/engine/event_queue.h"

#include "sim/base/check.h"

namespace moecast {

void EventQueue::Schedule(Time at, EventBody body) {
  SIM_CHECK(at >= last_popped_);  // INV-2
  const Priority priority = std::visit([](const auto& b) { return PriorityOf(b); }, body);
  heap_.push(Event{.at = at, .priority = priority, .sequence = scheduled_++, .body = body});
}

Event EventQueue::Pop() {
  SIM_CHECK(!heap_.empty());
  const Event event = heap_.top();
  heap_.pop();
  last_popped_ = event.at;
  return event;
}

}  // namespace moecast
