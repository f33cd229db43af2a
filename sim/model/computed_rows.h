// What a dense product of this project's kernels computes for a number of rows.
#pragma once

#include <cstdint>

namespace moecast {

/// Rows that a product of `rows` computes: every count up to 16, multiples of 8 up to 256 and of 64
/// above, no more than a tile's padding, so that few plans of the library serve all counts. The
/// executor launches these, the suite `dense` measures them, and a step is priced at them.
/// REQUIRES: rows >= 0.
constexpr int64_t ComputedRows(int64_t rows) {
  constexpr int64_t kExact = 16;
  constexpr int64_t kFine = 256;
  constexpr int64_t kFineStep = 8;
  constexpr int64_t kStep = 64;
  if (rows <= kExact) return rows;
  const int64_t step = rows <= kFine ? kFineStep : kStep;
  return (rows + step - 1) / step * step;
}

}  // namespace moecast
