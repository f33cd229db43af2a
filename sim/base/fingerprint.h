// One 64-bit hash of a whole event trajectory: equal fingerprints mean equal runs. [OMNeT++]
#pragma once

#include <cstdint>

namespace moecast {

/// Order-sensitive hash of 64-bit words (SplitMix64 mixing). Not cryptographic.
class Fingerprint {
 public:
  void Add(uint64_t word) {
    state_ += 0x9e3779b97f4a7c15ULL + word;
    uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    state_ = z ^ (z >> 31);
  }
  [[nodiscard]] uint64_t value() const { return state_; }

 private:
  uint64_t state_ = 0;
};

}  // namespace moecast
