#include "traces/request_source.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/traces/requests/request_files.h"

namespace moecast {
namespace {

SyntheticWorkload Synthetic() {
  return {
      .arrivals = PoissonArrivals{50},
      .input = LognormalLength{.mean_tokens = 800, .cv = 1, .min_tokens = 1, .max_tokens = 8000},
      .output = UniformLength{1, 500}};
}

struct Drawn {
  int64_t arrival_ns, input_tokens, output_tokens;
  friend bool operator==(const Drawn&, const Drawn&) = default;
};

std::vector<Drawn> Draw(const WorkloadSpec& spec, Seed seed, size_t count = 1000) {
  auto source = RequestSource::Open(spec, seed);
  std::vector<Drawn> drawn;
  Request request;
  for (size_t i = 0; i < count && source->Next(request); ++i) {
    EXPECT_EQ(request.id, RequestId(i));
    drawn.push_back({test::ArrivalNs(request), request.input_tokens, request.output_tokens});
  }
  return drawn;
}

// INV-8: requests depend on the workload and the seed alone.
TEST(RequestSource, SameSeedSameRequests) {
  const auto requests = Draw(Synthetic(), {.seed = 5});
  EXPECT_EQ(requests.size(), 1000u);
  EXPECT_EQ(requests, Draw(Synthetic(), {.seed = 5}));
  EXPECT_NE(requests, Draw(Synthetic(), {.seed = 6}));
  EXPECT_NE(requests, Draw(Synthetic(), {.seed = 5, .replication = 1}));
}

TEST(RequestSource, LengthsDoNotDependOnTheArrivalProcess) {
  SyntheticWorkload bursts = Synthetic();
  bursts.arrivals = GammaArrivals{.rate_per_s = 3, .cv = 3};
  const auto a = Draw(Synthetic(), {.seed = 5});
  const auto b = Draw(bursts, {.seed = 5});
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].input_tokens, b[i].input_tokens);
    EXPECT_EQ(a[i].output_tokens, b[i].output_tokens);
  }
}

TEST(RequestSource, AMovedSourceGoesOn) {
  auto source = RequestSource::Open(Synthetic(), {.seed = 5});
  Request request;
  ASSERT_TRUE(source->Next(request));
  RequestSource moved = std::move(source).value();
  ASSERT_TRUE(moved.Next(request));
  EXPECT_EQ(request.id, RequestId(1));
}

TEST(RequestSource, ClosedLoopHasNoArrivalTimes) {
  SyntheticWorkload workload = Synthetic();
  workload.arrivals = ClosedLoop{64};
  EXPECT_EQ(RequestSource::Open(workload, {})->closed_concurrency(), 64);
  for (const Drawn& request : Draw(workload, {}, 10)) EXPECT_EQ(request.arrival_ns, 0);
  EXPECT_EQ(RequestSource::Open(Synthetic(), {})->closed_concurrency(), std::nullopt);
}

TEST(RequestSource, ATraceDoesNotDependOnTheSeed) {
  const test::TemporaryFolder folder;
  const auto trace = test::Trace(
      RequestTraceFormat::kMoecastCsv,
      test::WriteText(folder, "a", "arrival_s,input_tokens,output_tokens\n1,2,3\n4,5,6\n"));
  EXPECT_EQ(Draw(trace, {.seed = 1}), Draw(trace, {.seed = 2}));
}

TEST(RequestSource, ReusedRequestsKeepNothingOfTheRowBefore) {
  const test::TemporaryFolder folder;
  const auto path = test::WriteText(
      folder, "a",
      "{\"timestamp\": 0, \"input_length\": 9, \"output_length\": 1, \"hash_ids\": [8]}\n"
      "{\"timestamp\": 1, \"input_length\": 9, \"output_length\": 1}\n");
  auto source = RequestSource::Open(test::Trace(RequestTraceFormat::kMooncakeJsonl, path), Seed{});
  Request request;
  ASSERT_TRUE(source->Next(request));
  EXPECT_EQ(request.prefix_blocks, std::vector<uint64_t>{8});
  ASSERT_TRUE(source->Next(request));
  EXPECT_TRUE(request.prefix_blocks.empty());
  EXPECT_EQ(request.prefix_block_tokens, 0);
}

TEST(RequestSource, ArrivalsBeyondTheClockEndTheStreamWithAnError) {
  SyntheticWorkload workload = Synthetic();
  workload.arrivals = FixedRateArrivals{1e-9};  // the fifth would come after 5e9 s
  auto source = RequestSource::Open(workload, {});
  Request request;
  size_t count = 0;
  while (source->Next(request)) ++count;
  EXPECT_EQ(count, 4u);
  EXPECT_EQ(ToString(source->status().errors()),
            "arrivals: request 4 arrives more than 4e9 s after time 0\n");
  EXPECT_FALSE(source->Next(request));
}

TEST(RequestSource, OpenReportsTheFirstBadRowAndNextTheLaterOnes) {
  const test::TemporaryFolder folder;
  const std::string header = "arrival_s,input_tokens,output_tokens\n";
  auto trace = test::Trace(RequestTraceFormat::kMoecastCsv,
                           test::WriteText(folder, "first", header + "0,0,1\n"));
  EXPECT_FALSE(RequestSource::Open(trace, {}).ok());
  trace.path = test::WriteText(folder, "second", header + "0,1,1\n0,0,1\n");
  auto source = RequestSource::Open(trace, {});
  ASSERT_TRUE(source.ok());
  Request request;
  EXPECT_TRUE(source->Next(request));
  EXPECT_TRUE(source->status().ok());
  EXPECT_FALSE(source->Next(request));
  EXPECT_FALSE(source->status().ok());
  EXPECT_FALSE(source->Next(request));
}

}  // namespace
}  // namespace moecast
