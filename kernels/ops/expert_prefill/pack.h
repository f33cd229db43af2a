// Packing of 4-bit weights for the compute-bound products: weights are the register operand of
// wgmma, so a lane's codes of 64 columns are one 16-byte vector.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace moecast::kernels {

/// Columns of one packed vector.
inline constexpr int kInt4PackColumns = 64;

/// Reorders codes [rows, columns] (one per byte, 0..15) to 4 bits each: for every tile of 16 rows,
/// every 64 columns, every lane of a warp four words, one per 16 columns. Bits 4 p + 16 v of a word
/// are value v of register p of the lane's A fragment of m64k16 (PTX ISA 9.0, 9.7.15.5.1.1).
/// REQUIRES: rows % 16 == 0, columns % 64 == 0.
std::vector<uint32_t> PackInt4Codes(std::span<const uint8_t> codes, int64_t rows, int64_t columns);

/// Reorders bf16 scales [rows, groups] (as bits): for every tile of 16 rows, every group, words of
/// rows r and r + 8 in the low and the high half. REQUIRES: rows % 16 == 0.
std::vector<uint32_t> PackInt4Scales(std::span<const uint16_t> scales, int64_t rows,
                                     int64_t groups);

}  // namespace moecast::kernels
