#include "sim/engine/decode_set.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "sim/base/rng.h"

namespace moecast {
namespace {

constexpr int64_t kBlock = 4;
constexpr int64_t kWindow = 10;

/// One struct per member, updated one by one.
class NaiveDecodes {
 public:
  void Join(const DecodeSet::Member& member) { members_.push_back(member); }
  DecodeSet::Member PopNewest() {
    const DecodeSet::Member newest = members_.back();
    members_.pop_back();
    return newest;
  }
  std::vector<DecodeSet::Member> Advance() {
    std::vector<DecodeSet::Member> finished;
    std::vector<DecodeSet::Member> kept;
    for (DecodeSet::Member member : members_) {
      ++member.cached_tokens;
      --member.tokens_left;
      ++member.decode_row;
      (member.tokens_left == 0 ? finished : kept).push_back(member);
    }
    members_ = kept;
    return finished;
  }
  [[nodiscard]] int64_t BlocksDue() const {
    return std::count_if(members_.begin(), members_.end(),
                         [](const auto& m) { return m.cached_tokens % kBlock == 0; });
  }
  [[nodiscard]] int64_t Context() const {
    int64_t sum = 0;
    for (const auto& m : members_) sum += m.cached_tokens + 1;
    return sum;
  }
  [[nodiscard]] int64_t Longest() const {
    int64_t longest = 0;
    for (const auto& m : members_) longest = std::max(longest, m.cached_tokens + 1);
    return longest;
  }
  [[nodiscard]] int64_t WindowContext() const {
    int64_t sum = 0;
    for (const auto& m : members_) sum += std::min(m.cached_tokens + 1, kWindow);
    return sum;
  }
  [[nodiscard]] const std::vector<DecodeSet::Member>& members() const { return members_; }

 private:
  std::vector<DecodeSet::Member> members_;
};

DecodeSet::Member RandomMember(RngStream& rng, uint32_t slot) {
  return {.slot = slot,
          .cached_tokens = 1 + static_cast<int64_t>(rng.NextBelow(30)),
          .tokens_left = 1 + static_cast<int64_t>(rng.NextBelow(20)),
          .decode_row = static_cast<int64_t>(rng.NextBelow(10)),
          .routing = SequenceId(slot * 3)};
}

void ExpectEqual(const DecodeSet& set, const NaiveDecodes& naive) {
  ASSERT_EQ(set.size(), static_cast<int64_t>(naive.members().size()));
  EXPECT_EQ(set.BlocksDue(), naive.BlocksDue());
  EXPECT_EQ(set.Context(), naive.Context());
  EXPECT_EQ(set.Longest(), naive.Longest());
  EXPECT_EQ(set.WindowContext(), naive.WindowContext());
  std::vector<RoutedSpan> spans;
  set.AppendSpans(spans);
  ASSERT_EQ(spans.size(), naive.members().size());
  for (size_t i = 0; i < spans.size(); ++i) {
    EXPECT_EQ(set.at(static_cast<int64_t>(i)), naive.members()[i]);
    EXPECT_EQ(spans[i].sequence, naive.members()[i].routing);
    EXPECT_EQ(spans[i].phase, RoutingPhase::kDecode);
    EXPECT_EQ(spans[i].first_row, naive.members()[i].decode_row);
    EXPECT_EQ(spans[i].rows, 1);
  }
}

TEST(DecodeSet, AgreesWithOneStructPerMemberOnRandomUse) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    RngStream rng(Seed{.seed = seed}, "test/decode_set");
    DecodeSet set({.kv = PlainKvUse(kBlock), .sliding_window = kWindow});
    NaiveDecodes naive;
    for (uint32_t i = 0; i < 500; ++i) {
      const uint64_t choice = rng.NextBelow(10);
      if (choice < 4) {
        const DecodeSet::Member member = RandomMember(rng, i);
        set.Join(member);
        naive.Join(member);
      } else if (choice < 5 && set.size() > 0) {
        ASSERT_EQ(set.PopNewest(), naive.PopNewest());
      } else {
        std::vector<DecodeSet::Member> finished;
        set.Advance(finished);
        ASSERT_EQ(finished, naive.Advance()) << "seed " << seed;
      }
      ExpectEqual(set, naive);
      ASSERT_FALSE(HasFailure()) << "seed " << seed << " operation " << i;
    }
  }
}

TEST(DecodeSet, FinishedMembersLeaveInOrderOfAdmission) {
  DecodeSet set({.kv = PlainKvUse(kBlock)});
  for (uint32_t slot = 0; slot < 4; ++slot) {
    set.Join({.slot = slot, .cached_tokens = 5, .tokens_left = slot == 1 ? 2 : 1});
  }
  std::vector<DecodeSet::Member> finished;
  set.Advance(finished);
  ASSERT_EQ(finished.size(), 3u);
  EXPECT_EQ(finished[0].slot, 0u);
  EXPECT_EQ(finished[1].slot, 2u);
  EXPECT_EQ(finished[2].slot, 3u);
  EXPECT_EQ(set.at(0).slot, 1u);
}

}  // namespace
}  // namespace moecast
