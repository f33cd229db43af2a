#include "traces/import/request_threads.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace moecast {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
constexpr auto kPrefill = RoutingPhase::kPrefill;
constexpr auto kDecode = RoutingPhase::kDecode;

std::string Add(RequestThreads& threads, const std::vector<int64_t>& positions,
                const std::vector<int64_t>& prefill_lengths, int64_t first_row) {
  return threads.AddPass(positions, prefill_lengths, first_row);
}

TEST(RequestThreads, PrefillThenDecodeIsOneRequest) {
  RequestThreads threads;
  EXPECT_EQ(Add(threads, {0, 1, 2}, {3}, 0), "");
  EXPECT_EQ(Add(threads, {3}, {}, 3), "");
  EXPECT_EQ(Add(threads, {4}, {}, 4), "");
  ASSERT_EQ(threads.threads().size(), 1u);
  EXPECT_THAT(threads.threads()[0],
              ElementsAre(ThreadPiece{kPrefill, 0, 0, 3}, ThreadPiece{kDecode, 3, 3, 1},
                          ThreadPiece{kDecode, 4, 4, 1}));
  EXPECT_EQ(threads.ambiguous_tokens(), 0);
}

TEST(RequestThreads, ChunkedPrefillGoesOn) {
  RequestThreads threads;
  EXPECT_EQ(Add(threads, {0, 1}, {2}, 0), "");
  EXPECT_EQ(Add(threads, {2, 3, 0}, {2, 1}, 2), "");
  ASSERT_EQ(threads.threads().size(), 2u);
  EXPECT_THAT(threads.threads()[0],
              ElementsAre(ThreadPiece{kPrefill, 0, 0, 2}, ThreadPiece{kPrefill, 2, 2, 2}));
}

TEST(RequestThreads, EqualPositionsGoByBatchOrderAndAreCounted) {
  RequestThreads threads;
  EXPECT_EQ(Add(threads, {0, 1, 0, 1}, {2, 2}, 0), "");
  EXPECT_EQ(Add(threads, {2, 2}, {}, 4), "");
  EXPECT_EQ(threads.threads()[0].back(), (ThreadPiece{kDecode, 2, 4, 1}));
  EXPECT_EQ(threads.threads()[1].back(), (ThreadPiece{kDecode, 2, 5, 1}));
  EXPECT_EQ(threads.ambiguous_tokens(), 1);
}

TEST(RequestThreads, AFinishedRequestDoesNotCaptureALaterOne) {
  RequestThreads threads;
  EXPECT_EQ(Add(threads, {0, 1}, {2}, 0), "");  // ends here
  EXPECT_EQ(Add(threads, {0, 1}, {2}, 2), "");
  EXPECT_EQ(Add(threads, {2}, {}, 4), "");
  EXPECT_EQ(threads.threads()[1].size(), 2u);
  EXPECT_EQ(threads.ambiguous_tokens(), 0);
}

TEST(RequestThreads, DecodeWithoutABeginningIsARequestOfItsOwn) {
  RequestThreads threads;
  EXPECT_EQ(Add(threads, {70}, {}, 0), "");
  EXPECT_EQ(threads.threads()[0], RequestThread({ThreadPiece{kDecode, 70, 0, 1}}));
  EXPECT_EQ(threads.orphan_threads(), 1);
}

TEST(RequestThreads, ContradictionsAreRefused) {
  RequestThreads threads;
  EXPECT_THAT(Add(threads, {0, 1}, {3}, 0), HasSubstr("more than the pass's 2 tokens"));
  EXPECT_THAT(Add(threads, {0, 2}, {2}, 0), HasSubstr("not consecutive"));
  EXPECT_THAT(Add(threads, {-1}, {}, 0), HasSubstr("position -1"));
}

// Requests of different prompt lengths that start at different passes have different positions
// whenever they meet, so they are told apart exactly.
TEST(RequestThreads, PropertyDistinctPositionsAreToldApart) {
  constexpr int64_t kRequests = 20;
  constexpr int64_t kPasses = 60;
  RequestThreads threads;
  int64_t row = 0;
  for (int64_t pass = 0; pass < kPasses; ++pass) {
    std::vector<int64_t> positions;
    std::vector<int64_t> lengths;
    // Request r starts at pass 2r with 3 + 5r prompt tokens: offsets 3r + 3 apart never meet.
    if (pass % 2 == 0 && pass / 2 < kRequests) {
      lengths.push_back(3 + 5 * (pass / 2));
      for (int64_t i = 0; i < lengths[0]; ++i) positions.push_back(i);
    }
    for (int64_t r = 0; r < kRequests && 2 * r < pass; ++r) {
      positions.push_back(3 + 5 * r + pass - 2 * r - 1);
    }
    ASSERT_EQ(threads.AddPass(positions, lengths, row), "");
    row += std::ssize(positions);
  }
  EXPECT_EQ(threads.ambiguous_tokens(), 0);
  ASSERT_EQ(std::ssize(threads.threads()), kRequests);
  for (int64_t r = 0; r < kRequests; ++r) {
    const RequestThread& thread = threads.threads()[static_cast<size_t>(r)];
    EXPECT_EQ(thread[0].rows, 3 + 5 * r);
    EXPECT_EQ(std::ssize(thread), kPasses - 2 * r);
  }
}

}  // namespace
}  // namespace moecast
