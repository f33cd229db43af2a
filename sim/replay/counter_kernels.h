// The counting algorithm, written once over a vector type V and compiled by counter_portable.cc,
// counter_avx2.cc and counter_avx512.cc with their own instruction sets. Each passes a V of its own
// unnamed namespace, so no code compiled for a newer CPU can be merged into another file's; for the
// same reason nothing here calls an inline function of another header.
//
// V::Word is a vector of 16-bit lanes with
//   Load, Store, Zero, Splat16(value), And, Or, Xor, Add16, ShiftLeft16, ShiftRight16 (lanes),
//   Xor3(a, b, c), Majority(a, b, c)  bitwise sum and carry of three bits,
//   Popcount16(a)                     set bits of each lane,
//   MaximumStep(candidates, maximum, plane, bit)  one step of the bit-sliced maximum, and
//   Sixteen, a register of 16 counts, with LoadCounts, StoreCounts and
//   AddBits(counts, bits, weight)     counts[i] += weight where bit i of 16 is set.
#pragma once

#include "sim/replay/vertical_counter.h"

namespace moecast {

template <class V>
struct CounterLoops {
  using Word = typename V::Word;
  static constexpr int64_t kWordsPerLine = static_cast<int64_t>(sizeof(Line) / sizeof(Word));
  static constexpr int kBlockLog2 = 4;
  static_assert(kBlockRows == 1 << kBlockLog2 && kMinPlanes == kBlockLog2);

  /// Where one column of words lies in every row.
  struct Column {
    int64_t line;
    int64_t word;  // within the line
  };

  static Word LoadWord(const Line* line, int64_t word) {
    return V::Load(reinterpret_cast<const char*>(line) + word * static_cast<int64_t>(sizeof(Word)));
  }
  static void StoreWord(Line* line, int64_t word, Word value) {
    V::Store(reinterpret_cast<char*>(line) + word * static_cast<int64_t>(sizeof(Word)), value);
  }

  /// Harley-Seal: adds 2^level rows into planes[0 .. level) and RETURNS the carry of weight
  /// 2^level.
  template <int level>
  [[gnu::always_inline]] static inline Word AddRows(const Line* const* rows, const Column& column,
                                                    Word* planes) {
    if constexpr (level == 0) {
      return LoadWord(rows[0] + column.line, column.word);
    } else {
      const Word a = AddRows<level - 1>(rows, column, planes);
      const Word b = AddRows<level - 1>(rows + (1 << (level - 1)), column, planes);
      const Word carry = V::Majority(planes[level - 1], a, b);
      planes[level - 1] = V::Xor3(planes[level - 1], a, b);
      return carry;
    }
  }

  /// Adds kBlockRows rows of one column to its planes.
  static void CountColumn(const Line* const* rows, const Column& column, Line* out, int planes) {
    Word low[kBlockLog2];
    for (int p = 0; p < kBlockLog2; ++p) low[p] = LoadWord(out + p, column.word);
    Word carry = AddRows<kBlockLog2>(rows, column, low);
    for (int p = 0; p < kBlockLog2; ++p) StoreWord(out + p, column.word, low[p]);
    for (int p = kBlockLog2; p < planes; ++p) {
      const Word plane = LoadWord(out + p, column.word);
      StoreWord(out + p, column.word, V::Xor(plane, carry));
      carry = V::And(plane, carry);
    }
  }

  /// Walks whole rows, a block of them at a time: memory is read in sequence and a block's pages
  /// stay within the first-level TLB. Planes are small enough to wait in the first-level cache.
  static void CountRows(const RowSet& rows, const Planes& out) {
    for (int64_t i = 0; i < rows.lines * out.planes; ++i) {
      for (int64_t w = 0; w < kWordsPerLine; ++w) StoreWord(out.lines_of_planes + i, w, V::Zero());
    }
    for (int64_t row = 0; row < rows.count; row += kBlockRows) {
      for (int64_t line = 0; line < rows.lines; ++line) {
        Line* const planes = out.lines_of_planes + line * out.planes;
        for (int64_t word = 0; word < kWordsPerLine; ++word) {
          CountColumn(rows.rows + row, {line, word}, planes, out.planes);
        }
      }
    }
  }

  /// The four figures of every group of one vector; `shift` and `mask` pick the group in its lane.
  struct Group {
    int shift;
    Word mask;
  };
  static void WordLoads(const Line* planes, int plane_count, int64_t word, const Group& group,
                        const GroupLoads& out, int64_t at) {
    const auto plane = [&](int p) {
      return V::And(V::ShiftRight16(LoadWord(planes + p, word), group.shift), group.mask);
    };
    Word assignments = V::Zero();
    Word tiles = V::Zero();
    Word any = V::Zero();
    Word partial_tile = V::Zero();
    for (int p = 0; p < plane_count; ++p) {
      const Word bits = plane(p);
      const Word set = V::Popcount16(bits);
      assignments = V::Add16(assignments, V::ShiftLeft16(set, p));
      any = V::Or(any, bits);
      if (p < out.tile_log2) {
        partial_tile = V::Or(partial_tile, bits);
      } else {
        tiles = V::Add16(tiles, V::ShiftLeft16(set, p - out.tile_log2));
      }
    }
    Word candidates = any;
    Word maximum = V::Zero();
    for (int p = plane_count - 1; p >= 0; --p) {
      V::MaximumStep(candidates, maximum, plane(p), V::Splat16(static_cast<uint16_t>(1 << p)));
    }
    V::Store(out.assignments + at, assignments);
    V::Store(out.distinct + at, V::Popcount16(any));
    V::Store(out.tiles + at, V::Add16(tiles, V::Popcount16(partial_tile)));
    V::Store(out.maximum + at, maximum);
  }

  static void LoadsOfGroups(const Planes& planes, const GroupLoads& out) {
    constexpr int64_t kLanesPerWord = kLanesPerLine / kWordsPerLine;
    const int width = static_cast<int>(kBitsPerLane) / out.passes;
    for (int pass = 0; pass < out.passes; ++pass) {
      const Group group{pass * width, V::Splat16(static_cast<uint16_t>((1U << width) - 1))};
      for (int64_t line = 0; line < planes.lines; ++line) {
        const Line* first = planes.lines_of_planes + line * planes.planes;
        for (int64_t word = 0; word < kWordsPerLine; ++word) {
          const int64_t at = (pass * planes.lines + line) * kLanesPerLine + word * kLanesPerWord;
          WordLoads(first, planes.planes, word, group, out, at);
        }
      }
    }
  }

  static void AddPlanes(const Planes& planes, uint32_t* counts) {
    for (int64_t line = 0; line < planes.lines; ++line) {
      const Line* first = planes.lines_of_planes + line * planes.planes;
      for (int64_t lane = 0; lane < kLanesPerLine; ++lane) {
        auto sixteen = V::LoadCounts(counts);
        for (int p = 0; p < planes.planes; ++p) {
          const uint64_t bits = first[p].words[lane / 4] >> (lane % 4 * kBitsPerLane);
          V::AddBits(sixteen, static_cast<uint16_t>(bits), 1U << p);
        }
        V::StoreCounts(counts, sixteen);
        counts += kBitsPerLane;
      }
    }
  }

  static void AddDifference(const uint16_t* later, const uint16_t* earlier, int64_t size,
                            uint32_t* counts) {
    for (int64_t i = 0; i < size; ++i) {
      counts[i] += static_cast<uint16_t>(later[i] - earlier[i]);
    }
  }

  static CountLoads LoadsOfCounts(const uint32_t* counts, int64_t size, int tile_log2) {
    CountLoads loads{};
    const uint32_t round_up = (1U << tile_log2) - 1;
    for (int64_t i = 0; i < size; ++i) {
      const uint32_t n = counts[i];
      loads.assignments += n;
      loads.distinct += n > 0 ? 1U : 0U;
      loads.tiles += (n + round_up) >> tile_log2;
      loads.maximum = n > loads.maximum ? n : loads.maximum;
    }
    return loads;
  }

  static constexpr CounterKernels Kernels(const char* name) {
    return {name, CountRows, LoadsOfGroups, AddPlanes, AddDifference, LoadsOfCounts};
  }
};

}  // namespace moecast
