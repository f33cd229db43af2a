// The inner loops of batch-level rules, for one instruction set: plain loops here, compiled again
// with AVX2 in expert_set_avx2.cc. All give equal results. Nothing here allocates.
#pragma once

#include <cstdint>

namespace moecast {

inline constexpr int64_t kPackedStride = 256;

/// Every token's best members. Rows are [moe_layer][rank_stride] ids.
struct TakeJob {
  const uint16_t* const* rows;
  int64_t tokens;
  int64_t moe_layers;
  int64_t rank_stride;
  int64_t ranks;    // that are looked at
  int64_t experts;  // also the id that means none
  int64_t take;     // experts a token takes at most
  const uint8_t* members;
  int64_t member_stride;
  uint8_t* member_bits;  // workspace, 32 bytes a layer
  uint16_t* packed;      // workspace, kPackedStride zeros a layer, and left so
  uint32_t* counts;
  int64_t expert_stride;
};

struct ExpertSetLoops {
  void (*take)(const TakeJob& job);
  /// Largest t with at least `wanted` of the values >= t; 0 when there are fewer values.
  uint32_t (*threshold_by_count)(const uint32_t* values, int64_t size, int64_t wanted);
  /// Largest t with sum of the values >= t at least `wanted`. REQUIRES: the sum of all reaches it;
  /// at most 2^16 values.
  uint32_t (*threshold_by_sum)(const uint32_t* values, int64_t size, uint64_t wanted);
  /// As threshold_by_count, of 16-bit values.
  uint32_t (*threshold_by_count16)(const uint16_t* values, int64_t size, int64_t wanted);
};

const ExpertSetLoops& PortableExpertSetLoops();
/// Null on a CPU or build without AVX2 and BMI2.
const ExpertSetLoops* Avx2ExpertSetLoops();
const ExpertSetLoops& BestExpertSetLoops();

/// Written once, compiled per instruction set: each file passes a tag of its own unnamed namespace,
/// so that code for a newer CPU cannot be merged into another file's.
template <class Isa>
struct ExpertSetCode {
  static void Take(const TakeJob& job) {
    for (int64_t token = 0; token < job.tokens; ++token) {
      for (int64_t layer = 0; layer < job.moe_layers; ++layer) {
        const uint16_t* const ids = job.rows[token] + layer * job.rank_stride;
        const uint8_t* const members = job.members + layer * job.member_stride;
        uint32_t* const counts = job.counts + layer * job.expert_stride;
        int64_t left = job.take;
        for (int64_t rank = 0; rank < job.ranks && left > 0; ++rank) {
          if (members[ids[rank]] == 0) continue;
          ++counts[ids[rank]];
          --left;
        }
      }
    }
  }

  /// Bits of the answer from the highest: `measure(t)` falls as t rises.
  template <class Measure, class Wanted>
  static uint32_t Largest(int bits, Wanted wanted, const Measure& measure) {
    uint32_t threshold = 0;
    for (int bit = bits - 1; bit >= 0; --bit) {
      const uint32_t higher = threshold | (uint32_t{1} << bit);
      if (measure(higher) >= wanted) threshold = higher;
    }
    return threshold;
  }

  static int BitsOf(const uint32_t* values, int64_t size) {
    uint32_t any = 0;
    for (int64_t i = 0; i < size; ++i) any |= values[i];
    return any == 0 ? 0 : 32 - __builtin_clz(any);
  }

  static uint32_t ThresholdByCount(const uint32_t* values, int64_t size, int64_t wanted) {
    return Largest(BitsOf(values, size), wanted, [&](uint32_t t) {
      uint32_t count = 0;
      for (int64_t i = 0; i < size; ++i) count += values[i] >= t ? 1U : 0U;
      return static_cast<int64_t>(count);
    });
  }

  static uint32_t ThresholdBySum(const uint32_t* values, int64_t size, uint64_t wanted) {
    return Largest(BitsOf(values, size), wanted, [&](uint32_t t) {
      // Halves of 16 bits: 32-bit lanes hold the sums of 2^16 of them.
      uint32_t low = 0;
      uint32_t high = 0;
      for (int64_t i = 0; i < size; ++i) {
        const uint32_t value = values[i] >= t ? values[i] : 0U;
        low += value & 0xffffU;
        high += value >> 16;
      }
      const uint64_t sum = low + (uint64_t{high} << 16);
      return sum;
    });
  }

  static uint32_t ThresholdByCount16(const uint16_t* values, int64_t size, int64_t wanted) {
    constexpr int kBits = 16;
    return Largest(kBits, wanted, [&](uint32_t t) {
      const auto bound = static_cast<uint16_t>(t);
      int64_t count = 0;
      constexpr int64_t kPiece = int64_t{1} << 15;  // so that 16 bits hold a piece's count
      for (int64_t first = 0; first < size; first += kPiece) {
        const int64_t end = first + kPiece < size ? first + kPiece : size;
        uint16_t part = 0;
        for (int64_t i = first; i < end; ++i) {
          part = static_cast<uint16_t>(part + (values[i] >= bound ? 1 : 0));
        }
        count += part;
      }
      return count;
    });
  }
};

}  // namespace moecast
