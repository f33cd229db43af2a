#include "sim/cost/kv_work.h"

#include <algorithm>
#include <cmath>

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

/// Tokens of the units that decode attention reads: pages where the cache is quantised, slabs of a
/// page where it is not. Sequences of different lengths leave half of their last unit empty.
double TokensOfUnits(const KernelFeatures& f) {
  constexpr double kPage = 64;
  constexpr double kSlab = 16;
  if (f[kBatch] <= 0) return f[kContext];
  const double unit = f[kKeyBits] < kPlainBits ? kPage : kSlab;
  const bool even = f[kMaxContext] * f[kBatch] <= kEven * f[kContext];
  return even ? std::ceil(f[kContext] / f[kBatch] / unit) * unit * f[kBatch]
              : f[kContext] + f[kBatch] * (unit - 1) / 2;
}

/// Attention of chunks as a kernel computes it: the cached past is expanded once to bf16, then
/// tiles of query rows walk along it and along the chunk, up to the diagonal.
struct ChunkTiles {
  double count = 0;    // of query rows, over all heads, in whole rounds where lengths are alike
  double pairs = 0;    // (row, key) of all of them
  double longest = 0;  // keys that one tile of rows walks along
  double past = 0;     // cached tokens
  double expands = 0;  // 1 where there is a past, which takes a launch of its own
};
constexpr double kTile = 128;  // query rows, and keys

/// `at_a_time`: tiles that the card computes side by side; 0: no rounds.
ChunkTiles TilesOf(const KernelFeatures& f, double at_a_time) {
  /// Of the mean over rows: a causal row sees up to twice of it, more where lengths differ.
  constexpr double kMostKeys = 4;
  if (f[kTokens] <= 0) return {};
  const double sequences = std::max(f[kBatch], 1.0);
  const double mean = f[kTokens] / sequences;
  const bool even = sequences == 1 || f[kMaxContext] * sequences <= kEven * f[kContext];
  // Chunks of different lengths leave half of a tile empty each.
  const double rows = even ? std::ceil(mean / kTile) * kTile : std::max(mean + kTile / 2, kTile);
  double count = rows / kTile * sequences * f[kHeads];
  if (even && at_a_time > 0) count = std::ceil(count / at_a_time) * at_a_time;
  const double keys = f[kPairs] / f[kTokens];
  const double longest = std::min(f[kMaxContext], kMostKeys * keys);  // a window bounds it
  const double past = std::max(f[kContext] - f[kTokens], 0.0);
  // Half of the tile on the diagonal is masked.
  return {.count = count,
          .pairs = count * kTile * (keys + kTile / 2),
          .longest = std::ceil(longest / kTile) * kTile,
          .past = past,
          .expands = past > 0 ? 1.0 : 0.0};
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
  return {.memory = {f[kContext] * BytesOf(f, f[kKeyBits]), f[kBatch] * f[kHeads],
                     f[kKeyBits] < kPlainBits ? f[kContext] : 0},
          .compute = f[kContext] * f[kHeads],
          .chain = kFloor};
}

KernelWork AttendPrefillWork(const KernelFeatures& f, double tiles_at_a_time) {
  const ChunkTiles tiles = TilesOf(f, tiles_at_a_time);
  return {.memory = {tiles.past * (CodeBytes(f) + 2 * PlainBytes(f)),  // written and read again
                     tiles.expands, tiles.count * kTile * f[kHeadDim],
                     f[kTokens] * f[kHeads] * f[kHeadDim]},
          .compute = tiles.pairs * f[kHeadDim],
          .chain = tiles.longest * f[kHeadDim]};
}

KernelWork AttendExpandedWork(const KernelFeatures& f, double tiles_at_a_time) {
  const ChunkTiles tiles = TilesOf(f, tiles_at_a_time);
  return {.memory = {(f[kContext] + f[kTokens]) * f[kHeads], tiles.expands, tiles.count * kTile},
          .compute = tiles.pairs,
          .chain = tiles.longest};
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
