#include "kernels/ops/expert_prefill/pack.h"

#include "kernels/ops/expert_shape.h"
#include "sim/base/check.h"

namespace moecast::kernels {
namespace {

constexpr int kLanes = 32;
constexpr int kStepColumns = 16;  // of one product
constexpr int kRegisters = 4;     // of one lane's fragment, two values each

}  // namespace

std::vector<uint32_t> PackInt4Codes(std::span<const uint8_t> codes, int64_t rows, int64_t columns) {
  SIM_CHECK(rows % kFragmentRows == 0 && columns % kInt4PackColumns == 0);
  SIM_CHECK(codes.size() == static_cast<size_t>(rows * columns));
  std::vector<uint32_t> packed;
  packed.reserve(codes.size() / 8);
  for (int64_t tile = 0; tile < rows; tile += kFragmentRows) {
    for (int64_t block = 0; block < columns; block += kInt4PackColumns) {
      for (int lane = 0; lane < kLanes; ++lane) {
        for (int64_t step = 0; step < kInt4PackColumns; step += kStepColumns) {
          uint32_t word = 0;
          for (int p = 0; p < kRegisters; ++p) {
            for (int v = 0; v < 2; ++v) {
              const int64_t row = tile + lane / 4 + p % 2 * 8;
              const int64_t column = block + step + p / 2 * 8 + lane % 4 * 2 + v;
              const uint32_t code = codes[static_cast<size_t>(row * columns + column)];
              word |= code << (4 * p + 16 * v);
            }
          }
          packed.push_back(word);
        }
      }
    }
  }
  return packed;
}

std::vector<uint32_t> PackInt4Scales(std::span<const uint16_t> scales, int64_t rows,
                                     int64_t groups) {
  SIM_CHECK(rows % kFragmentRows == 0);
  SIM_CHECK(scales.size() == static_cast<size_t>(rows * groups));
  constexpr int kHalf = kFragmentRows / 2;
  std::vector<uint32_t> packed;
  packed.reserve(scales.size() / 2);
  for (int64_t tile = 0; tile < rows; tile += kFragmentRows) {
    for (int64_t group = 0; group < groups; ++group) {
      for (int64_t row = tile; row < tile + kHalf; ++row) {
        const uint32_t low = scales[static_cast<size_t>(row * groups + group)];
        const uint32_t high = scales[static_cast<size_t>((row + kHalf) * groups + group)];
        packed.push_back(low | high << 16);
      }
    }
  }
  return packed;
}

}  // namespace moecast::kernels
