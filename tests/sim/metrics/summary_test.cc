#include "sim/metrics/summary.h"

#include <gtest/gtest.h>

namespace moecast {
namespace {

using std::chrono::milliseconds;

/// Arrives at 1 s, first token after 200 ms, nine more in 900 ms.
RequestRecord TenTokens() {
  RequestRecord record;
  record.outcome = RequestOutcome::kFinished;
  record.arrival = Time(milliseconds(1000));
  record.first_token = Time(milliseconds(1200));
  record.finish = Time(milliseconds(2100));
  record.output_tokens = 10;
  record.generated_tokens = 10;
  return record;
}

TEST(MeetsSlo, BoundsAreInclusive) {
  const RequestRecord record = TenTokens();
  EXPECT_TRUE(MeetsSlo(record, {.ttft = milliseconds(200), .tpot = {}, .e2e = {}}));
  EXPECT_FALSE(MeetsSlo(record, {.ttft = milliseconds(199), .tpot = {}, .e2e = {}}));
  EXPECT_TRUE(MeetsSlo(record, {.ttft = {}, .tpot = milliseconds(100), .e2e = {}}));
  EXPECT_FALSE(MeetsSlo(record, {.ttft = {}, .tpot = milliseconds(99), .e2e = {}}));
  EXPECT_TRUE(MeetsSlo(record, {.ttft = {}, .tpot = {}, .e2e = milliseconds(1100)}));
  EXPECT_FALSE(MeetsSlo(record, {.ttft = {}, .tpot = {}, .e2e = milliseconds(1099)}));
}

TEST(MeetsSlo, EveryBoundMustHold) {
  const Slo slo{.ttft = milliseconds(300), .tpot = milliseconds(50), .e2e = milliseconds(5000)};
  EXPECT_FALSE(MeetsSlo(TenTokens(), slo));
}

TEST(MeetsSlo, TpotDoesNotApplyToASingleToken) {
  RequestRecord record = TenTokens();
  record.generated_tokens = 1;
  record.finish = record.first_token;
  EXPECT_TRUE(MeetsSlo(record, {.ttft = {}, .tpot = Duration(1), .e2e = {}}));
}

TEST(Summarise, EmptySetIsAllZero) {
  const Latency latency = Summarise(SampleSet{});
  EXPECT_EQ(latency.count, 0u);
  EXPECT_EQ(latency.p99, 0.0);
}

}  // namespace
}  // namespace moecast
