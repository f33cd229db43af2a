#include "sim/cost/kv_work.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>

#include "sim/base/check.h"

namespace moecast {
namespace {

using enum Feature;

constexpr double kBitsPerByte = 8;
constexpr double kPlainBits = 16;
/// A group's scale and its zero, in 16 bits each.
constexpr double kMetadataBits = 2 * 16;
/// A multiply-add is two operations; a query meets a key once and a value once.
constexpr double kFlopsPerPairElement = 2 * 2;
constexpr double kKeysAndValues = 2;
/// A floor under small work, as in the other forms without experts.
constexpr double kFloor = 1;

/// Bytes of one element of keys or of values with its share of metadata.
double BytesOf(const KernelFeatures& f, double bits) {
  if (bits <= 0) return 0;
  const double metadata = f[kGroup] > 0 && bits < kPlainBits ? kMetadataBits / f[kGroup] : 0;
  return (bits + metadata) / kBitsPerByte;
}

/// Bytes of one token in one layer's pages, and in its bf16 residual.
double CodeBytes(const KernelFeatures& f) {
  return f[kKvHeads] * f[kHeadDim] * (BytesOf(f, f[kKeyBits]) + BytesOf(f, f[kValueBits]));
}
double PlainBytes(const KernelFeatures& f) {
  const double sides = f[kValueBits] > 0 ? kKeysAndValues : 1;
  return f[kKvHeads] * f[kHeadDim] * sides * kPlainBits / kBitsPerByte;
}

/// Elements whose codes become numbers before they are multiplied.
double Dequantised(const KernelFeatures& f, double tokens) {
  double sides = 0;
  for (const double bits : {f[kKeyBits], f[kValueBits]}) sides += bits > 0 && bits < kPlainBits;
  return tokens * f[kKvHeads] * f[kHeadDim] * sides;
}

/// Pages and residual; what moves with queries and outputs; dequantisation.
std::array<double, kMemoryTerms> ReadTerms(const KernelFeatures& f, double queries) {
  const double plain = std::min(f[kContext], f[kBatch] * f[kResidual]);
  const double coded = f[kContext] - plain;
  return {coded * CodeBytes(f) + plain * PlainBytes(f), queries * f[kHeads] * f[kHeadDim],
          Dequantised(f, coded)};
}

/// Longest over mean, of sequences that are alike.
constexpr double kEven = 1.01;

/// Tokens of the units that decode attention reads: pages where the cache is
/// quantised, slabs of a page where it is not. Sequences of different lengths
/// leave half of their last unit empty.
double TokensOfUnits(const KernelFeatures& f) {
  constexpr double kPage = 64;
  constexpr double kSlab = 16;
  if (f[kBatch] <= 0) return f[kContext];
  const double unit = f[kKeyBits] < kPlainBits ? kPage : kSlab;
  const bool even = f[kMaxContext] * f[kBatch] <= kEven * f[kContext];
  return even ? std::ceil(f[kContext] / f[kBatch] / unit) * unit * f[kBatch]
              : f[kContext] + f[kBatch] * (unit - 1) / 2;
}

constexpr double kTile = 128;  // query rows of prefill attention, and keys

/// Attention of chunks as a kernel computes it: the cached past is expanded
/// once to bf16, then tiles of query rows walk along it and along the chunk, up
/// to the diagonal.
struct ChunkTiles {
  double sequences = 1;
  bool even = true;    // sequences are as long as one another
  double of_each = 0;  // tiles of query rows of one sequence and head; in the
                       // mean, if not even
  double count = 0;    // of them, over all sequences and heads
  double pairs = 0;    // (row, key) of all of them
  double longest = 0;  // keys that one tile of rows walks along
  double past = 0;     // cached tokens
  double expands = 0;  // 1 where there is a past, which takes a launch of its own
};

ChunkTiles TilesOf(const KernelFeatures& f) {
  /// Of the mean over rows: a causal row sees up to twice of it, more where
  /// lengths differ.
  constexpr double kMostKeys = 4;
  if (f[kTokens] <= 0) return {};
  ChunkTiles tiles{.sequences = std::max(f[kBatch], 1.0)};
  const double mean = f[kTokens] / tiles.sequences;
  tiles.even = tiles.sequences == 1 || f[kMaxContext] * tiles.sequences <= kEven * f[kContext];
  // Chunks of different lengths leave half of a tile empty each.
  tiles.of_each = tiles.even ? std::ceil(mean / kTile) : std::max(mean / kTile + 0.5, 1.0);
  tiles.count = tiles.of_each * tiles.sequences * f[kHeads];
  const double keys = f[kPairs] / f[kTokens];
  // Half of the tile on the diagonal is masked.
  tiles.pairs = tiles.count * kTile * (keys + kTile / 2);
  const double longest = std::min(f[kMaxContext], kMostKeys * keys);  // a window bounds it
  tiles.longest = std::ceil(longest / kTile) * kTile;
  tiles.past = std::max(f[kContext] - f[kTokens], 0.0);
  tiles.expands = tiles.past > 0 ? 1.0 : 0.0;
  return tiles;
}

/// Time, in walks along a tile of keys, at which blocks are free again: how
/// many are at which.
class FreeBlocks {
 public:
  explicit FreeBlocks(int blocks) { free_at_[0] = static_cast<uint16_t>(blocks); }

  /// `count` walks of `tiles` each begin as soon as a block is free. RETURNS:
  /// whether they end within what is kept.
  bool Begin(int count, int tiles) {
    while (count > 0) {
      while (free_at_[now_] == 0) ++now_;
      const int begun = std::min<int>(count, free_at_[now_]);
      const size_t end = now_ + static_cast<size_t>(tiles);
      if (end >= free_at_.size()) return false;
      free_at_[now_] = static_cast<uint16_t>(free_at_[now_] - begun);
      free_at_[end] = static_cast<uint16_t>(free_at_[end] + begun);
      last_ = std::max(last_, end);
      count -= begun;
    }
    return true;
  }
  [[nodiscard]] double last() const { return static_cast<double>(last_); }

 private:
  static constexpr size_t kMostTime = 4096;
  std::array<uint16_t, kMostTime> free_at_{};
  size_t now_ = 0;
  size_t last_ = 0;
};

/// Walks along a tile of keys, from the first block's start to the last one's
/// end, one after the other. Beginning and ending a tile of rows costs as much
/// as one more. Blocks take the tiles of a sequence from its end on, heads
/// fastest, one whenever they are free; where sequences differ, or rounds are
/// many, the work is taken as shared alike.
double LongestShare(const KernelFeatures& f, const ChunkTiles& tiles) {
  constexpr int kOwn = 1;
  constexpr double kManyRounds = 12;
  SIM_CHECK(f[kMultiprocessors] > 0);
  const double most = tiles.longest / kTile + kOwn;
  const double alike = (tiles.pairs / kTile / kTile + tiles.count * kOwn) / f[kMultiprocessors];
  const double shared = std::max(alike, most);
  if (!tiles.even || tiles.count > kManyRounds * f[kMultiprocessors]) return shared;
  const int past = static_cast<int>(std::ceil(tiles.past / tiles.sequences / kTile));
  FreeBlocks blocks(static_cast<int>(f[kMultiprocessors]));
  for (int sequence = 0; sequence < static_cast<int>(tiles.sequences); ++sequence) {
    for (int row = static_cast<int>(tiles.of_each); row > 0; --row) {
      const int walk = std::min(row + past + kOwn, static_cast<int>(most));
      if (!blocks.Begin(static_cast<int>(f[kHeads]), walk)) return shared;
    }
  }
  return blocks.last();
}

/// Decode attention over latents: blocks share the row of all sequences' pages
/// evenly, as few blocks as make no share larger.
struct LatentShares {
  double parts = 1;   // of different sequences, in one block: each is begun and ended
  double merges = 0;  // 1 where a second pass merges parts of one sequence
};
LatentShares SharesOf(const KernelFeatures& f) {
  constexpr double kPage = 64;
  constexpr double kHeadsOfBlock = 64;
  SIM_CHECK(f[kMultiprocessors] > 0);
  const double sequences = std::max(f[kBatch], 1.0);
  const bool even = f[kMaxContext] * sequences <= kEven * f[kContext];
  const double of_each = even ? std::ceil(f[kContext] / sequences / kPage)
                              : std::max(f[kContext] / sequences / kPage + 0.5, 1.0);
  const double pages = std::max(of_each * sequences, 1.0);
  const double groups = std::max(std::ceil(f[kHeads] / kHeadsOfBlock), 1.0);
  const double share = std::ceil(pages / std::floor(f[kMultiprocessors] / groups));
  const double blocks = std::ceil(pages / share);
  // Shares begin and end where sequences do.
  if (even && std::fmod(sequences, blocks) == 0) return {.parts = sequences / blocks};
  if (even && std::fmod(blocks, sequences) == 0) return {.merges = 1};
  return {.parts = std::ceil((share - 1) / of_each) + 1, .merges = 1};
}

}  // namespace

KernelWork AttendWork(const KernelFeatures& f, double) {
  KernelFeatures units = f;
  units[kContext] = TokensOfUnits(f);
  return {.memory = ReadTerms(units, f[kBatch]),
          .compute = kFlopsPerPairElement * units[kContext] * f[kHeads] * f[kHeadDim],
          .chain = kFloor};
}

KernelWork AttendLatentWork(const KernelFeatures& f, double) {
  const LatentShares shares = SharesOf(f);
  return {.memory = {f[kContext] * BytesOf(f, f[kKeyBits]), shares.parts,
                     f[kKeyBits] < kPlainBits ? f[kContext] : f[kBatch] * f[kHeads], shares.merges},
          .compute = f[kContext] * f[kHeads],
          .chain = kFloor};
}

KernelWork AttendPrefillWork(const KernelFeatures& f, double) {
  const ChunkTiles tiles = TilesOf(f);
  return {.memory = {tiles.past * (CodeBytes(f) + 2 * PlainBytes(f)),  // written and read again
                     tiles.expands, tiles.count * kTile * f[kHeadDim],
                     f[kTokens] * f[kHeads] * f[kHeadDim]},
          .compute = tiles.pairs * f[kHeadDim],
          .chain = LongestShare(f, tiles) * f[kHeadDim]};
}

KernelWork AttendExpandedWork(const KernelFeatures& f, double) {
  const ChunkTiles tiles = TilesOf(f);
  return {.memory = {(f[kContext] + f[kTokens]) * f[kHeads], tiles.expands, tiles.count * kTile},
          .compute = tiles.pairs,
          .chain = LongestShare(f, tiles)};
}

KernelWork KvWriteWork(const KernelFeatures& f, double) {
  return {.memory = {f[kNewTokens] * CodeBytes(f), f[kNewTokens] * PlainBytes(f),
                     f[kNewTokens] * f[kHeadDim]},  // what heads do side by side
          .chain = kFloor};
}

KernelWork PackWork(const KernelFeatures& f, double rows_per_pass) {
  KernelWork work = KvWriteWork(f, rows_per_pass);
  // Chunks that fit the window of bf16 are copied, and no code is made.
  const double chunk = f[kNewTokens] / std::max(f[kBatch], 1.0);
  work.memory[3] = f[kResidual] > 0 && chunk >= f[kResidual] ? 1 : 0;
  return work;
}

}  // namespace moecast
