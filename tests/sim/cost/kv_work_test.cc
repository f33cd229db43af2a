// What work the forms of attention are told: tiles of chunks and how blocks take them, against a
// plain schedule, and shares of latent caches.
#include "sim/cost/kv_work.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <queue>
#include <vector>

namespace moecast {
namespace {

constexpr double kTile = 128;

/// Rows of a chunk, with as many cached tokens and pairs as its causal queries see.
KernelFeatures Chunks(double chunks, double tokens, double past) {
  KernelFeatures f;
  f[Feature::kMultiprocessors] = 132;
  f[Feature::kHeads] = 32;
  f[Feature::kKvHeads] = 8;
  f[Feature::kHeadDim] = 128;
  f[Feature::kKeyBits] = f[Feature::kValueBits] = 16;
  f[Feature::kBatch] = chunks;
  f[Feature::kTokens] = chunks * tokens;
  f[Feature::kContext] = chunks * (past + tokens);
  f[Feature::kMaxContext] = past + tokens;
  f[Feature::kPairs] = chunks * tokens * (past + (tokens + 1) / 2);
  return f;
}

TEST(KvWork, ChunksCostWholeTiles) {
  const auto tiles = [](const KernelFeatures& f) {
    return AttendPrefillWork(f, 0).memory[2] / (kTile * f[Feature::kHeadDim]);
  };
  EXPECT_EQ(tiles(Chunks(1, 128, 0)), 32);  // one tile a head
  EXPECT_EQ(tiles(Chunks(1, 129, 0)), 64);
  EXPECT_EQ(tiles(Chunks(3, 100, 0)), 96);
  KernelFeatures mixed = Chunks(3, 100, 0);
  mixed[Feature::kMaxContext] = 250;
  EXPECT_EQ(tiles(mixed), 3 * 32 * (100.0 + 64) / 128);
}

/// When the last block is done that takes tiles of rows one by one, in walks along a tile of keys.
double ListScheduled(int chunks, int rows, int past) {
  std::priority_queue<int, std::vector<int>, std::greater<>> free_at;
  for (int block = 0; block < 132; ++block) free_at.push(0);
  int last = 0;
  for (int chunk = 0; chunk < chunks; ++chunk) {
    for (int row = rows; row > 0; --row) {
      for (int head = 0; head < 32; ++head) {
        const int end = free_at.top() + row + past + 1;
        free_at.pop();
        free_at.push(end);
        last = std::max(last, end);
      }
    }
  }
  return last;
}

TEST(KvWork, TheChainOfEqualChunksIsAListSchedule) {
  for (const int chunks : {1, 3, 6}) {
    for (const int rows : {1, 4, 7}) {
      for (const int past : {0, 5}) {
        const KernelFeatures f = Chunks(chunks, kTile * rows, kTile * past);
        EXPECT_EQ(AttendPrefillWork(f, 0).chain / f[Feature::kHeadDim],
                  ListScheduled(chunks, rows, past))
            << chunks << " chunks of " << rows << " tiles behind " << past;
      }
    }
  }
}

/// Where it is not scheduled, work is shared alike: the two meet where rounds are many.
TEST(KvWork, TheChainOfManyRoundsIsNearTheList) {
  const KernelFeatures f = Chunks(1, kTile * 64, 0);
  EXPECT_NEAR(AttendPrefillWork(f, 0).chain / f[Feature::kHeadDim] / ListScheduled(1, 64, 0), 1,
              0.03);
}

TEST(KvWork, MoreTokensNeverTakeAShorterChain) {
  double before = 0;
  for (double tokens = 64; tokens <= 9000; tokens += 64) {
    const double chain = AttendPrefillWork(Chunks(1, tokens, 0), 0).chain;
    EXPECT_GE(chain, 0.97 * before) << tokens;
    before = chain;
  }
}

TEST(KvWork, APastIsExpandedByALaunchOfItsOwn) {
  const KernelForm& form = FormOf("attend_prefill");
  EXPECT_EQ(form.work(Chunks(1, 128, 0), 0).memory[1], 0);
  EXPECT_EQ(form.work(Chunks(1, 128, 1), 0).memory[1], 1);
  EXPECT_EQ(form.work(Chunks(1, 128, 0), 0).memory[0], 0);
  EXPECT_EQ(form.work(Chunks(2, 128, 50), 0).memory[0],
            2 * form.work(Chunks(1, 128, 50), 0).memory[0]);
}

KernelFeatures Latents(double sequences, double tokens, double heads) {
  KernelFeatures f;
  f[Feature::kMultiprocessors] = 132;
  f[Feature::kHeads] = heads;
  f[Feature::kKeyBits] = 16;
  f[Feature::kBatch] = sequences;
  f[Feature::kContext] = sequences * tokens;
  f[Feature::kMaxContext] = tokens;
  return f;
}

TEST(KvWork, BlocksOfLatentsHaveWholeSequencesOrPartsOfThem) {
  const auto parts = [](const KernelFeatures& f) { return AttendLatentWork(f, 0).memory[1]; };
  const auto merges = [](const KernelFeatures& f) { return AttendLatentWork(f, 0).memory[3]; };
  EXPECT_EQ(merges(Latents(1, 64, 16)), 0);  // one page
  EXPECT_EQ(merges(Latents(1, 65, 16)), 1);  // of two blocks
  EXPECT_EQ(parts(Latents(1, 6400, 16)), 1);
  EXPECT_EQ(parts(Latents(264, 640, 16)), 2);
  EXPECT_EQ(merges(Latents(264, 640, 16)), 0);
  EXPECT_EQ(parts(Latents(48, 180, 16)), 2);  // shares of two pages cut sequences of three
  EXPECT_EQ(merges(Latents(48, 180, 16)), 1);
  EXPECT_EQ(merges(Latents(132, 64, 16)), 0);
  EXPECT_EQ(parts(Latents(132, 64, 128)), 2);  // half of the blocks take the other heads
  KernelFeatures mixed = Latents(132, 640, 16);
  mixed[Feature::kMaxContext] = 2000;
  EXPECT_EQ(merges(mixed), 1);
}

TEST(KvWork, PacksThatLeaveTokensOfAWindowStandApart) {
  const KernelForm& form = FormOf("pack");
  const auto place = [&](double tokens, double window) {
    return form.place({tokens, 8, 128, 2, 2, window});
  };
  EXPECT_EQ(SquaredDistance(place(256, 128), place(256, 0)), 0);
  EXPECT_GT(SquaredDistance(place(257, 128), place(256, 128)), 1);
  EXPECT_LT(SquaredDistance(place(257, 0), place(256, 0)), 0.01);
}

}  // namespace
}  // namespace moecast
