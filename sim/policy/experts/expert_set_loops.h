// The inner loops of batch-level rules, for one instruction set: plain loops here, again with AVX2
// in expert_set_avx2.cc. All give equal results. Nothing here allocates.
#pragma once

#include <cstdint>
#include <span>

#include "sim/policy/experts/expert_set.h"

namespace moecast {

/// Writes every token's best members.
struct TakeJob {
  RankedShape shape;
  std::span<const RankedRow> rows;
  std::span<uint64_t* const> chosen;
  TakeLimit limit;
  const uint64_t* sets;  // [moe_layer][set_words]
  int64_t set_words;
};

/// Writes the ranks whose weight is above their layer's threshold and the first `ties` that equal
/// it, the earlier token and the better rank first. Ranks beyond top_k are not looked at.
struct AboveJob {
  RankedShape shape;
  std::span<const RankedRow> rows;
  std::span<uint64_t* const> chosen;
  const uint16_t* thresholds;  // [moe_layer], >= 1
  int64_t* ties;               // [moe_layer], counted down
};

struct ExpertSetLoops {
  void (*take)(const TakeJob& job);
  void (*above)(const AboveJob& job);
  /// Largest t with at least `wanted` of the values >= t; 0 when there are fewer values.
  uint32_t (*threshold_by_count)(const uint32_t* values, int64_t size, int64_t wanted);
  /// Largest t with sum of the values >= t at least `wanted`. REQUIRES: the sum of all reaches it;
  /// at most 2^16 values.
  uint32_t (*threshold_by_sum)(const uint32_t* values, int64_t size, uint64_t wanted);
  /// As threshold_by_count, of 16-bit values.
  uint32_t (*threshold_by_count16)(const uint16_t* values, int64_t size, int64_t wanted);
  /// How many values are larger.
  int64_t (*count_above16)(const uint16_t* values, int64_t size, uint16_t than);
};

const ExpertSetLoops& PortableExpertSetLoops();
/// Null on a CPU or build without AVX2 and BMI2.
const ExpertSetLoops* Avx2ExpertSetLoops();
const ExpertSetLoops& BestExpertSetLoops();

/// Written once, compiled per instruction set: each file passes a tag of its own unnamed namespace,
/// so that code for a newer CPU cannot be merged into another file's.
template <class Isa>
struct ExpertSetCode {
  static void SetBit(uint64_t* row, int64_t bit) { row[bit / 64] |= uint64_t{1} << (bit % 64); }

  static void Clear(uint64_t* row, int64_t words) {
    for (int64_t w = 0; w < words; ++w) row[w] = 0;
  }

  static void Take(const TakeJob& job) {
    const int64_t rank_stride = job.shape.rank_stride();
    const int64_t bit_stride = job.shape.expert_stride();
    for (uint64_t token = 0; token < job.rows.size(); ++token) {
      uint64_t* const chosen = job.chosen[token];
      Clear(chosen, job.shape.row_words());
      for (int64_t layer = 0; layer < job.shape.moe_layers; ++layer) {
        const uint16_t* const ids = job.rows[token].ids + layer * rank_stride;
        const uint64_t* const set = job.sets + layer * job.set_words;
        int64_t left = job.limit.take;
        for (int64_t rank = 0; rank < job.limit.ranks && left > 0; ++rank) {
          if ((set[ids[rank] / 64] >> (ids[rank] % 64) & 1) == 0) continue;
          SetBit(chosen, layer * bit_stride + ids[rank]);
          --left;
        }
      }
    }
  }

  static void Above(const AboveJob& job) {
    const int64_t rank_stride = job.shape.rank_stride();
    const int64_t bit_stride = job.shape.expert_stride();
    for (uint64_t token = 0; token < job.rows.size(); ++token) {
      uint64_t* const chosen = job.chosen[token];
      Clear(chosen, job.shape.row_words());
      for (int64_t layer = 0; layer < job.shape.moe_layers; ++layer) {
        const uint16_t* const ids = job.rows[token].ids + layer * rank_stride;
        const uint16_t* const weights = job.rows[token].weights + layer * rank_stride;
        const uint16_t threshold = job.thresholds[layer];
        for (int64_t rank = 0; rank < job.shape.top_k; ++rank) {
          const bool tie = weights[rank] == threshold && job.ties[layer] > 0;
          if (weights[rank] <= threshold && !tie) continue;
          job.ties[layer] -= tie ? 1 : 0;
          SetBit(chosen, layer * bit_stride + ids[rank]);
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
    uint64_t total = 0;
    for (int64_t i = 0; i < size; ++i) total += values[i];
    if (total >> 32 == 0) {
      return Largest(BitsOf(values, size), wanted, [&](uint32_t t) {
        uint32_t sum = 0;
        for (int64_t i = 0; i < size; ++i) sum += values[i] >= t ? values[i] : 0U;
        return uint64_t{sum};
      });
    }
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

  static int64_t CountAbove16(const uint16_t* values, int64_t size, uint16_t than) {
    int64_t count = 0;
    constexpr int64_t kPiece = int64_t{1} << 15;  // so that 16 bits hold a piece's count
    for (int64_t first = 0; first < size; first += kPiece) {
      const int64_t end = first + kPiece < size ? first + kPiece : size;
      uint16_t part = 0;
      for (int64_t i = first; i < end; ++i) {
        part = static_cast<uint16_t>(part + (values[i] > than ? 1 : 0));
      }
      count += part;
    }
    return count;
  }

  /// The smallest value that is at least `from`. REQUIRES: there is one. What is below `from` wraps
  /// round, behind all that is not.
  static uint32_t LeastFrom16(const uint16_t* values, int64_t size, uint32_t from) {
    const auto base = static_cast<uint16_t>(from);
    uint16_t least = 0xffff;
    for (int64_t i = 0; i < size; ++i) {
      const auto above = static_cast<uint16_t>(values[i] - base);
      least = above < least ? above : least;
    }
    return from + least;
  }

  /// Largest, which ends where exactly the wanted values are left: the smallest of them is it.
  /// `count_above(t)` is how many values are larger.
  template <class CountAbove>
  static uint32_t ThresholdByCounts16(const uint16_t* values, int64_t size, int64_t wanted,
                                      const CountAbove& count_above) {
    uint32_t threshold = 0;
    for (uint32_t bit = 0x8000; bit > 0; bit >>= 1) {
      const uint32_t higher = threshold | bit;
      const int64_t count = count_above(static_cast<uint16_t>(higher - 1));
      if (count == wanted && wanted > 0) return LeastFrom16(values, size, higher);
      if (count >= wanted) threshold = higher;
    }
    return threshold;
  }

  static uint32_t ThresholdByCount16(const uint16_t* values, int64_t size, int64_t wanted) {
    return ThresholdByCounts16(values, size, wanted,
                               [&](uint16_t than) { return CountAbove16(values, size, than); });
  }
};

}  // namespace moecast
