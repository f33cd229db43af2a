#include "sim/engine/event_queue.h"

#include <gtest/gtest.h>

#include <map>
#include <tuple>
#include <vector>

#include "sim/base/rng.h"

namespace moecast {
namespace {

Time At(int64_t ns) { return Time(Duration(ns)); }

TEST(EventQueue, EarlierTimePopsFirst) {
  EventQueue queue;
  queue.Schedule(At(7), ArrivalEvent{});
  queue.Schedule(At(3), ArrivalEvent{});
  EXPECT_EQ(queue.NextTime(), At(3));
  EXPECT_EQ(queue.Pop().at, At(3));
  EXPECT_EQ(queue.Pop().at, At(7));
  EXPECT_TRUE(queue.empty());
}

// INV-2
TEST(EventQueue, EqualTimesPopInPriorityThenInsertionOrder) {
  EventQueue queue;
  queue.Schedule(At(5), FormBatchEvent{ReplicaId(0)});
  queue.Schedule(At(5), ArrivalEvent{});
  queue.Schedule(At(5), StepDoneEvent{ReplicaId(2)});
  queue.Schedule(At(5), StepDoneEvent{ReplicaId(1)});
  std::vector<Event> popped;
  while (!queue.empty()) popped.push_back(queue.Pop());
  ASSERT_EQ(popped.size(), 4u);
  EXPECT_EQ(std::get<StepDoneEvent>(popped[0].body).replica, ReplicaId(2));
  EXPECT_EQ(std::get<StepDoneEvent>(popped[1].body).replica, ReplicaId(1));
  EXPECT_EQ(popped[2].priority, Priority::kArrival);
  EXPECT_EQ(popped[3].priority, Priority::kFormBatch);
}

TEST(EventQueueDeathTest, SchedulingBeforeTheLastPopAborts) {
  EventQueue queue;
  queue.Schedule(At(5), ArrivalEvent{});
  queue.Pop();
  EXPECT_DEATH(queue.Schedule(At(4), ArrivalEvent{}), "last_popped_");
}

EventBody RandomBody(RngStream& rng) {
  const ReplicaId replica(static_cast<uint32_t>(rng.NextBelow(1000)));
  switch (rng.NextBelow(3)) {
    case 0:
      return StepDoneEvent{replica};
    case 1:
      return FormBatchEvent{replica};
    default:
      return ArrivalEvent{};
  }
}

/// The queue's order, spelled out with a library container.
class SortedQueue {
 public:
  void Schedule(Time at, const EventBody& body) {
    const Priority priority = std::visit([](const auto& b) { return PriorityOf(b); }, body);
    events_.emplace(std::tuple(at, priority, next_++), body);
  }
  ReplicaId PopReplica() {
    const auto first = events_.begin();
    const ReplicaId id = std::visit([](const auto& b) { return ReplicaOf(b); }, first->second);
    events_.erase(first);
    return id;
  }
  [[nodiscard]] Time NextTime() const { return std::get<0>(events_.begin()->first); }
  [[nodiscard]] bool empty() const { return events_.empty(); }

 private:
  std::multimap<std::tuple<Time, Priority, uint64_t>, EventBody> events_;
  uint64_t next_ = 0;
};

TEST(EventQueue, AgreesWithASortedContainerOnRandomSchedules) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    RngStream rng(Seed{.seed = seed}, "test/event_queue");
    EventQueue queue;
    SortedQueue naive;
    Time now;
    for (int i = 0; i < 2000; ++i) {
      ASSERT_EQ(queue.empty(), naive.empty()) << "seed " << seed;
      if (queue.empty() || rng.NextBelow(5) < 3) {
        const Time at = now + Duration(static_cast<int64_t>(rng.NextBelow(8)));
        const EventBody body = RandomBody(rng);
        queue.Schedule(at, body);
        naive.Schedule(at, body);
        continue;
      }
      ASSERT_EQ(queue.NextTime(), naive.NextTime());
      const Event event = queue.Pop();
      now = event.at;
      const ReplicaId replica =
          std::visit([](const auto& body) { return ReplicaOf(body); }, event.body);
      ASSERT_EQ(replica, naive.PopReplica()) << "seed " << seed;
    }
  }
}

}  // namespace
}  // namespace moecast
