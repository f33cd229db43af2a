// Vertical counters: how often each bit position is set over many bit rows, and what an expert-
// parallel rank needs to know about those counts. A count is stored bit-sliced: plane p holds bit p
// of every position's count, so one vector instruction advances 512 counters. [Mula18]
// One algorithm (counter_kernels.h) compiled for three instruction sets; the CPU chooses at run
// time and all give equal results. Nothing here allocates. docs/model/replay.md, "Counting".
#pragma once

#include <cstdint>

namespace moecast {

/// 64 bytes of a bit row: a cache line, 32 lanes of 16 bits. Bit b of a row is bit b%64 of word
/// b/64.
struct alignas(64) Line {
  uint64_t words[8];
};
inline constexpr int64_t kLanesPerLine = 32;
inline constexpr int64_t kBitsPerLane = 16;
inline constexpr int64_t kBitsPerLine = kLanesPerLine * kBitsPerLane;

/// Rows are counted in blocks of this many; the caller fills the last block with a row of zeros.
inline constexpr int64_t kBlockRows = 16;
/// Planes 0-3 always exist. More than kMaxPlanes could overflow a lane's 16-bit sum of counts.
inline constexpr int kMinPlanes = 4;
inline constexpr int kMaxPlanes = 12;
inline constexpr int64_t kMaxCountedRows = (1 << kMaxPlanes) - 1;

/// Bit rows to count: `rows[0 .. count)`, each of `lines` Lines.
/// REQUIRES: count is a multiple of kBlockRows; at most 2^planes - 1 of the rows are not zero.
struct RowSet {
  const Line* const* rows;
  int64_t count;
  int64_t lines;
};

/// Bit-sliced counts, [line][plane].
struct Planes {
  Line* lines_of_planes;
  int64_t lines;
  int planes;  // kMinPlanes .. kMaxPlanes
};

/// Per group of adjacent positions with counts n: sum n, #{n > 0}, sum ceil(n / tile), max n.
/// Four arrays [pass][lane], lanes = lines * kLanesPerLine. With one pass a group is a lane (16
/// positions), with two it is half a lane (8 positions: low half in pass 0, high half in pass 1).
struct GroupLoads {
  uint16_t* assignments;
  uint16_t* distinct;
  uint16_t* tiles;
  uint16_t* maximum;
  int passes;     // 1 or 2
  int tile_log2;  // tile = 2^tile_log2
};

/// The same four figures of one group, from counts.
struct CountLoads {
  uint32_t assignments;
  uint32_t distinct;
  uint32_t tiles;
  uint32_t maximum;
};

/// The inner loops, for one instruction set.
struct CounterKernels {
  const char* name;
  /// Counts `rows` into planes.
  void (*count_rows)(const RowSet& rows, const Planes& out);
  void (*group_loads)(const Planes& planes, const GroupLoads& out);
  /// counts[position] += the count in `planes`, over lines * kBitsPerLine positions.
  void (*add_planes)(const Planes& planes, uint32_t* counts);
  /// counts[i] += (later[i] - earlier[i]) mod 2^16.
  void (*add_difference)(const uint16_t* later, const uint16_t* earlier, int64_t size,
                         uint32_t* counts);
  /// Figures of the group counts[0 .. size).
  CountLoads (*count_loads)(const uint32_t* counts, int64_t size, int tile_log2);
};

/// The portable kernels, on 64-bit words.
const CounterKernels& PortableCounterKernels();
/// AVX2 kernels, or null on a CPU or build without.
const CounterKernels* Avx2CounterKernels();
/// AVX-512 (BW, BITALG) kernels, or null on a CPU or build without.
const CounterKernels* Avx512CounterKernels();
/// The widest kernels this CPU can run.
const CounterKernels& BestCounterKernels();

}  // namespace moecast
