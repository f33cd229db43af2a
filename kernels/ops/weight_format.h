// WeightFormat: how expert weights are stored and with what precision their products are taken.
// Shared by the memory-bound and the compute-bound expert products, their references and rows.
//
// W[row, column] is one projection (gate, up or down) of one expert; columns run along K, the
// summed dimension. Scales multiply codes.
//
//   format      code    weight scale                       activations
//   bf16        bf16    none                               bf16
//   fp8_tensor  e4m3    float32 per projection             e4m3, one static float32 scale each for
//                                                          x and act
//   fp8_block   e4m3    float32 per 128 rows x 128 columns e4m3, a float32 scale per token and 128
//                                                          columns: largest magnitude / 448
//   w4a16_g32   4 bits  bf16 per row and 32 columns        bf16
//   w4a16_g128  4 bits  bf16 per row and 128 columns       bf16
//
// e4m3 is OCP FP8 E4M3: bit 7 sign, bits 6-3 exponent with bias 7, bits 2-0 mantissa, exponent 0
// subnormal, 0x7f and 0xff not-a-number, no infinity, largest 448; conversion rounds to nearest
// even and saturates [OFP8 1.0, section 5]. A 4-bit code n in 0..15 stands for n - 8; there is no
// zero point. Blocks at the end of a row or column may be smaller; 4-bit groups may not, so K is a
// multiple of the group there.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace moecast::kernels {

enum class WeightFormat : int32_t { kBf16, kFp8, kFp8Block, kInt4G32, kInt4G128 };

inline constexpr std::array<WeightFormat, 5> kWeightFormats = {
    WeightFormat::kBf16, WeightFormat::kFp8, WeightFormat::kFp8Block, WeightFormat::kInt4G32,
    WeightFormat::kInt4G128};

/// Largest finite e4m3 number.
inline constexpr float kE4m3Max = 448.0F;
/// Rows and columns of a weight block, and columns of an activation group, in fp8_block.
inline constexpr int kFp8BlockSize = 128;
/// What a 4-bit code of weight zero is.
inline constexpr int kInt4Zero = 8;

/// The text of the `format` column.
constexpr std::string_view Name(WeightFormat format) {
  constexpr std::array<std::string_view, 5> kNames = {"bf16", "fp8_tensor", "fp8_block",
                                                      "w4a16_g32", "w4a16_g128"};
  return kNames[static_cast<size_t>(format)];
}

/// Columns that share a scale along K; 0 where scales are no part of the stored weights' layout.
constexpr int GroupColumns(WeightFormat format) {
  switch (format) {
    case WeightFormat::kBf16:
    case WeightFormat::kFp8:
      return 0;
    case WeightFormat::kFp8Block:
    case WeightFormat::kInt4G128:
      return 128;
    case WeightFormat::kInt4G32:
      return 32;
  }
  return 0;
}

constexpr bool IsFp8(WeightFormat format) {
  return format == WeightFormat::kFp8 || format == WeightFormat::kFp8Block;
}
constexpr bool IsInt4(WeightFormat format) {
  return format == WeightFormat::kInt4G32 || format == WeightFormat::kInt4G128;
}

/// Whether a projection with `columns` columns can be stored.
constexpr bool Fits(WeightFormat format, int columns) {
  return !IsInt4(format) || columns % GroupColumns(format) == 0;
}

/// Stored bytes per weight, scales included: what a launch must read per weight. The one scale of
/// an fp8 projection is left out.
constexpr double BytesPerWeight(WeightFormat format) {
  switch (format) {
    case WeightFormat::kBf16:
      return 2;
    case WeightFormat::kFp8:
      return 1;
    case WeightFormat::kFp8Block:
      return 1 + 4.0 / (kFp8BlockSize * kFp8BlockSize);
    case WeightFormat::kInt4G32:
    case WeightFormat::kInt4G128:
      return 0.5 + 2.0 / GroupColumns(format);
  }
  return 0;
}

}  // namespace moecast::kernels
