// Counter-based random streams: the draws of a stream depend on (seed, name, index) and on nothing
// else, so two policies compared on one seed see identical arrivals, lengths and routing (INV-8).
// Philox4x32-10, [Salmon11]; the generator itself is the Random123 library's.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace moecast {

/// The randomness of one run. A replication is a run number inside the seed, not a new seed.
struct Seed {
  uint64_t seed = 0;
  uint32_t replication = 0;
  friend bool operator==(Seed, Seed) = default;
};

/// One stream of random numbers. A value type: a copy repeats the same draws.
/// Name a stream by purpose ("workload/arrivals"); `index` tells members of a family apart (request
/// number, layer). Streams that differ in seed, replication, name or index are independent.
/// COST: construction hashes the name, about 1 ns per character; no allocation.
class RngStream {
 public:
  RngStream(Seed seed, std::string_view name, uint64_t index = 0);

  /// Uniform over all 64-bit values. COST: about 4 ns.
  uint64_t NextU64() {
    if (used_ == block_.size()) Refill();
    return block_[used_++];
  }
  /// Uniform in [0, 1) with 53 random bits.
  double NextUniform() {
    constexpr double kUlp = 0x1p-53;
    return static_cast<double>(NextU64() >> 11) * kUlp;
  }
  /// Uniform in {0, ..., bound-1}, unbiased. REQUIRES: bound > 0.
  uint64_t NextBelow(uint64_t bound);

 private:
  void Refill();

  uint64_t key_;
  uint64_t index_;
  uint64_t next_block_ = 0;
  std::array<uint64_t, 2> block_{};
  uint32_t used_ = 2;  // words of block_ already handed out
};

}  // namespace moecast
