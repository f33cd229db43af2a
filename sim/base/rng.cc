#include "sim/base/rng.h"

#include <Random123/philox.h>

#include "sim/base/check.h"

namespace moecast {
namespace {

__extension__ using Uint128 = unsigned __int128;

uint32_t Low32(uint64_t word) { return static_cast<uint32_t>(word); }
uint32_t High32(uint64_t word) { return static_cast<uint32_t>(word >> 32); }
uint64_t Join(uint32_t low, uint32_t high) { return uint64_t{high} << 32 | low; }

// FNV-1a, 64 bits. [FNV91]
uint64_t HashName(std::string_view name) {
  uint64_t hash = 0xcbf29ce484222325ULL;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  return hash;
}

// The finaliser of SplitMix64, a bijection, so two seeds never share a key under one name.
// [Steele14]
uint64_t Mix(uint64_t z) {
  z += 0x9e3779b97f4a7c15ULL;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

}  // namespace

RngStream::RngStream(Seed seed, std::string_view name, uint64_t index)
    : key_(Mix(Mix(Mix(HashName(name)) ^ seed.seed) ^ seed.replication)), index_(index) {}

void RngStream::Refill() {
  const r123::Philox4x32::ctr_type counter = {
      {Low32(next_block_), High32(next_block_), Low32(index_), High32(index_)}};
  const r123::Philox4x32::key_type key = {{Low32(key_), High32(key_)}};
  const r123::Philox4x32::ctr_type words = r123::Philox4x32()(counter, key);
  block_ = {Join(words[0], words[1]), Join(words[2], words[3])};
  ++next_block_;
  used_ = 0;
}

// Multiply-shift with rejection of the few low words that would be over-represented. [Lemire19]
uint64_t RngStream::NextBelow(uint64_t bound) {
  SIM_CHECK(bound > 0);
  Uint128 product = Uint128{NextU64()} * bound;
  if (static_cast<uint64_t>(product) < bound) {
    const uint64_t rejected = (0 - bound) % bound;
    while (static_cast<uint64_t>(product) < rejected) product = Uint128{NextU64()} * bound;
  }
  return static_cast<uint64_t>(product >> 64);
}

}  // namespace moecast
