// Fragment order: how a projection's codes are stored for the memory-bound products. A projection
// of `rows` x `columns` weights is rows / 16 row tiles; a row tile is columns / BlockColumns blocks
// of BlockBytes, each contiguous. The eight codes that one lane of a warp feeds to one mma.m16n8k16
// lie together, so a tile's bytes are its operands without any shuffle.
//
// Lane l of a warp has g = l / 4, q = l % 4. In 32 columns it holds 16 codes: half h of two, value
// v of eight, is
//   row g + 8 * (v / 2 % 2), column 8 * q + 4 * h + 2 * (v / 4) + v % 2
// so that eight consecutive columns of an activation are the lane's B operand of both halves.
// Codes of a block, in bytes:
//   bf16        32 columns: h, lane, v                            2 * 32 * 8 * 2
//   fp8         32 columns: lane, h, v                            32 * 16
//   w4a16_g32   64 columns: lane, 32-column part, h: one 32-bit word whose nibble v / 2 + 4 * (v %
//               2) is value v; then scales                        32 * 16 + 8 * 2 * 4
//   w4a16_g128  128 columns: two times the codes of 64; then scales   2 * 32 * 16 + 8 * 4
// Scales of a 4-bit block: for each g, for each group, bf16 of row g, bf16 of row g + 8.
// fp8 scales are arrays of their own, see expert_gemm.h.
#pragma once

#include <cstdint>

#include "kernels/ops/expert_shape.h"
#include "kernels/ops/weight_format.h"

namespace moecast::kernels {

/// Columns of one block.
constexpr int BlockColumns(WeightFormat format) {
  switch (format) {
    case WeightFormat::kInt4G32:
      return 64;
    case WeightFormat::kInt4G128:
      return 128;
    default:
      return 32;
  }
}

/// Bytes of one block of 16 rows, scales included.
constexpr int BlockBytes(WeightFormat format) {
  const int weights = kFragmentRows * BlockColumns(format);
  switch (format) {
    case WeightFormat::kBf16:
      return 2 * weights;
    case WeightFormat::kFp8:
    case WeightFormat::kFp8Block:
      return weights;
    case WeightFormat::kInt4G32:
    case WeightFormat::kInt4G128:
      return weights / 2 + 2 * weights / GroupColumns(format);
  }
  return 0;
}

/// Bytes of a packed projection. REQUIRES: rows % 16 == 0, columns % BlockColumns == 0.
constexpr int64_t PackedBytes(WeightFormat format, int64_t rows, int64_t columns) {
  return rows / kFragmentRows * (columns / BlockColumns(format)) * BlockBytes(format);
}

/// Whether the memory-bound products take this shape in this format.
constexpr bool Streams(WeightFormat format, const ExpertShape& shape) {
  return shape.hidden % 64 == 0 && shape.intermediate % 32 == 0 &&
         shape.hidden % BlockColumns(format) == 0 && shape.intermediate % BlockColumns(format) == 0;
}

/// Row-major bf16 bits [rows, columns] to fragment order, on the host.
/// REQUIRES: rows % 16 == 0, columns % 32 == 0.
void PackBf16(const uint16_t* row_major, int64_t rows, int64_t columns, uint16_t* packed);

}  // namespace moecast::kernels
