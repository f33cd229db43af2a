// Counter-based random streams: the draws of a stream depend on (seed, name, index) and on nothing
// else, so two policies compared on one seed see identical arrivals, lengths and routing (INV-8).
// Philox4x32-10, [Salmon11].
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace moecast {

/// One stream of random numbers. A value type: a copy repeats the same draws.
/// Name a stream by purpose ("workload/arrivals"); `index` tells members of a family apart (request
/// number, layer). A replication is a run number inside the Seed, not a new seed.
struct Seed {
  uint64_t seed = 0;
  uint32_t replication = 0;
  friend bool operator==(Seed, Seed) = default;
};

class RngStream {
 public:
  RngStream(Seed seed, std::string_view name, uint64_t index = 0);

  /// Uniform over all 64-bit values. COST: about 4 ns.
  uint64_t NextU64();
  /// Uniform in [0, 1) with 53 random bits.
  double NextUniform();
  /// Uniform in {0, ..., bound-1}, unbiased. REQUIRES: bound > 0.
  uint64_t NextBelow(uint64_t bound);

 private:
  std::array<uint32_t, 2> key_{};
  std::array<uint32_t, 4> counter_{};
  std::array<uint32_t, 4> block_{};
  uint32_t used_ = 4;  // 32-bit words of block_ already handed out
};

}  // namespace moecast
