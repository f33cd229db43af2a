// Weight formats on the host: the codecs, the quantisers' error bounds and the packed order.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <set>

#include "kernels/ops/expert_gemm/fragment_order.h"
#include "kernels/ops/expert_gemm/pack.h"
#include "kernels/ops/expert_gemm/quantise.h"
#include "sim/base/rng.h"

namespace moecast::kernels {
namespace {

using Eigen::MatrixXd;

MatrixXd Random(uint64_t seed, int rows, int columns) {
  RngStream rng({.seed = seed}, "test/format");
  return MatrixXd::NullaryExpr(rows, columns, [&] { return 2 * rng.NextUniform() - 1; });
}

TEST(E4m3, EveryCodeReadsBackAsItself) {
  for (int code = 0; code < 256; ++code) {
    const double value = ValueOfE4m3(static_cast<uint8_t>(code));
    if (std::isnan(value)) {
      EXPECT_EQ(code & 0x7f, 0x7f);
      continue;
    }
    EXPECT_EQ(E4m3Of(value), code) << value;
  }
}

TEST(E4m3, KnownNumbers) {
  EXPECT_EQ(ValueOfE4m3(0x38), 1.0);
  EXPECT_EQ(ValueOfE4m3(0x7e), 448.0);
  EXPECT_EQ(ValueOfE4m3(0x01), std::ldexp(1.0, -9));
  EXPECT_EQ(ValueOfE4m3(0xc0), -2.0);
}

TEST(E4m3, RoundsToTheNearestAndTiesToEven) {
  // Neighbours by value, checked against a search over all codes.
  for (int i = -5000; i <= 5000; ++i) {
    const double value = i * 0.0937;
    double best = std::numeric_limits<double>::infinity();
    for (int code = 0; code < 256; ++code) {
      const double candidate = ValueOfE4m3(static_cast<uint8_t>(code));
      if (!std::isnan(candidate)) best = std::min(best, std::abs(candidate - value));
    }
    EXPECT_EQ(std::abs(ValueOfE4m3(E4m3Of(value)) - value), best) << value;
  }
  EXPECT_EQ(ValueOfE4m3(E4m3Of(17)), 16.0);  // between 16 (even) and 18
  EXPECT_EQ(ValueOfE4m3(E4m3Of(19)), 20.0);  // between 18 and 20 (even)
  EXPECT_EQ(ValueOfE4m3(E4m3Of(15.9)), 16.0);
}

TEST(E4m3, Saturates) {
  EXPECT_EQ(ValueOfE4m3(E4m3Of(1e9)), 448.0);
  EXPECT_EQ(ValueOfE4m3(E4m3Of(-std::numeric_limits<double>::infinity())), -448.0);
  EXPECT_TRUE(std::isnan(ValueOfE4m3(E4m3Of(std::nan("")))));
}

TEST(Bf16, RoundsToEightBits) {
  EXPECT_EQ(Bf16Of(1.0), 0x3f80);
  EXPECT_EQ(ValueOfBf16(Bf16Of(1 + std::ldexp(1.0, -8))), 1.0);  // a tie, to even
  EXPECT_EQ(ValueOfBf16(Bf16Of(1 + std::ldexp(3.0, -8))), 1 + std::ldexp(4.0, -8));
  for (const double value : {3.14159, -1e-20, 6.5e20})
    EXPECT_NEAR(ValueOfBf16(Bf16Of(value)) / value, 1, std::ldexp(1.0, -8));
}

// Largest error of a code, in the scale that covers it: half a step.
double ErrorBound(WeightFormat format, double largest) {
  switch (format) {
    case WeightFormat::kBf16:
      return largest * std::ldexp(1.0, -9);
    case WeightFormat::kFp8:
    case WeightFormat::kFp8Block:
      return largest / kE4m3Max * 16;  // codes above 256 stand 32 apart
    case WeightFormat::kInt4G32:
    case WeightFormat::kInt4G128:
      // Half a step, and what the scale's own rounding takes from the seventh step.
      return largest / 7 * (0.5 + 7 * std::ldexp(1.0, -8));
  }
  return 0;
}

class EveryFormat : public testing::TestWithParam<WeightFormat> {};
INSTANTIATE_TEST_SUITE_P(Formats, EveryFormat, testing::ValuesIn(kWeightFormats),
                         [](const auto& format) { return std::string(Name(format.param)); });

TEST_P(EveryFormat, ErrorStaysWithinHalfAStep) {
  const MatrixXd weights = Random(7, 160, 384);
  const MatrixXd error = (Values(Quantise(GetParam(), weights)) - weights).cwiseAbs();
  EXPECT_LE(error.maxCoeff(), ErrorBound(GetParam(), 1.0));
  EXPECT_GT(error.maxCoeff(), 0);
}

TEST_P(EveryFormat, QuantisingTwiceChangesNothing) {
  const MatrixXd once = Values(Quantise(GetParam(), Random(9, 32, 256)));
  const MatrixXd twice = Values(Quantise(GetParam(), once));
  EXPECT_LE((twice - once).cwiseAbs().maxCoeff(), 1e-6);
}

TEST_P(EveryFormat, ZerosStayZero) {
  const QuantisedMatrix zeros = Quantise(GetParam(), MatrixXd::Zero(16, 128));
  EXPECT_EQ(Values(zeros).cwiseAbs().maxCoeff(), 0);
  EXPECT_EQ(QuantiseActivations(GetParam(), MatrixXd::Zero(2, 256), 1).cwiseAbs().maxCoeff(), 0);
}

TEST_P(EveryFormat, PackedBytesAreBytesPerWeight) {
  const WeightFormat format = GetParam();
  const int64_t weights = 256L * 512;
  const double scales_apart = format == WeightFormat::kFp8Block ? weights * 4.0 / (128 * 128) : 0;
  EXPECT_DOUBLE_EQ(static_cast<double>(PackedBytes(format, 256, 512)) + scales_apart,
                   static_cast<double>(weights) * BytesPerWeight(format));
  EXPECT_EQ(Pack(Quantise(format, Random(3, 256, 512))).size(),
            static_cast<size_t>(PackedBytes(format, 256, 512)));
}

// One code changed changes exactly the bits of its place, and no two codes share a place.
TEST_P(EveryFormat, EveryCodeHasItsOwnPlace) {
  const WeightFormat format = GetParam();
  QuantisedMatrix matrix = Quantise(format, MatrixXd::Zero(32, 256));
  for (uint16_t& code : matrix.codes) code = 0;
  const std::vector<uint8_t> empty = Pack(matrix);
  std::set<std::pair<size_t, int>> used;
  for (uint16_t& code : matrix.codes) {
    code = 1;
    const std::vector<uint8_t> packed = Pack(matrix);
    code = 0;
    int changed = 0;
    for (size_t byte = 0; byte < packed.size(); ++byte) {
      if (packed[byte] == empty[byte]) continue;
      ++changed;
      EXPECT_TRUE(used.emplace(byte, packed[byte] ^ empty[byte]).second);
    }
    ASSERT_EQ(changed, 1);
  }
}

// The order of fragment_order.h, written once more as its reader sees it.
TEST(FragmentOrder, LaneFourteenOfFp8HoldsItsRowsAndColumns) {
  const QuantisedMatrix matrix = Quantise(WeightFormat::kFp8, Random(5, 16, 64));
  const std::vector<uint8_t> packed = Pack(matrix);
  const int lane = 14;  // g = 3, q = 2
  const int block = 1;  // columns 32 to 63
  for (int h = 0; h < 2; ++h) {
    for (int v = 0; v < 8; ++v) {
      const int row = 3 + (v / 2 % 2) * 8;
      const int column = block * 32 + 2 * 8 + 4 * h + 2 * (v / 4) + v % 2;
      EXPECT_EQ(packed[static_cast<size_t>(block * 512 + lane * 16 + h * 8 + v)],
                matrix.codes[static_cast<size_t>(row * 64 + column)]);
    }
  }
}

TEST(FragmentOrder, FourBitScalesFollowTheirCodes) {
  const QuantisedMatrix matrix = Quantise(WeightFormat::kInt4G32, Random(6, 16, 128));
  const std::vector<uint8_t> packed = Pack(matrix);
  for (int g = 0; g < 8; ++g) {
    for (int group = 0; group < 2; ++group) {
      for (int half = 0; half < 2; ++half) {
        const auto at = static_cast<size_t>(576 + 512 + ((g * 2 + group) * 2 + half) * 2);
        const int bits = packed[at] | packed[at + 1] << 8;
        EXPECT_EQ(ValueOfBf16(static_cast<uint16_t>(bits)),
                  matrix.scales[static_cast<size_t>((g + 8 * half) * 4 + 2 + group)]);
      }
    }
  }
}

TEST(FragmentOrder, GateAndUpTilesTakeTurns) {
  const QuantisedMatrix gate = Quantise(WeightFormat::kFp8, Random(1, 32, 64));
  const QuantisedMatrix up = Quantise(WeightFormat::kFp8, Random(2, 32, 64));
  const std::vector<uint8_t> packed = PackGateUp(gate, up);
  const std::vector<uint8_t> of_gate = Pack(gate);
  const std::vector<uint8_t> of_up = Pack(up);
  const size_t tile = 16 * 64;
  for (size_t byte = 0; byte < tile; ++byte) {
    EXPECT_EQ(packed[byte], of_gate[byte]);
    EXPECT_EQ(packed[tile + byte], of_up[byte]);
    EXPECT_EQ(packed[2 * tile + byte], of_gate[tile + byte]);
    EXPECT_EQ(packed[3 * tile + byte], of_up[tile + byte]);
  }
}

TEST(Activations, BlockScalesFollowEachTokensLargestMagnitude) {
  MatrixXd x = Random(4, 3, 256);
  x.row(1) *= 1e-6;  // lost under a scale shared with row 0
  x.row(2).tail(128) *= 1e3;
  const MatrixXd rounded = QuantiseActivations(WeightFormat::kFp8Block, x, 0);
  for (int row = 0; row < 3; ++row) {
    for (int first = 0; first < 256; first += 128) {
      const auto part = x.row(row).segment(first, 128);
      const double bound = part.cwiseAbs().maxCoeff() / kE4m3Max * 16;
      EXPECT_LE((rounded.row(row).segment(first, 128) - part).cwiseAbs().maxCoeff(), bound);
    }
  }
}

TEST(Activations, AFloatFactorDecidesHalfWayBetweenTwoCodes) {
  int ties = 0;
  for (int step = 0; step < 128; ++step) {
    const double largest = 1 + step / 128.0;
    for (int part = 0; part <= 128 + step; ++part) {
      MatrixXd x(1, 2);
      x << largest, part / 128.0;
      const double exact = x(0, 1) * kE4m3Max / largest;
      const double code =
          QuantiseActivations(WeightFormat::kFp8Block, x, 0)(0, 1) * kE4m3Max / largest;
      const float product = static_cast<float>(x(0, 1)) * (kE4m3Max / static_cast<float>(largest));
      EXPECT_NEAR(code, ValueOfE4m3(E4m3Of(product)), 1e-9);
      ties += ValueOfE4m3(E4m3Of(exact)) != ValueOfE4m3(E4m3Of(product)) ? 1 : 0;
    }
  }
  EXPECT_GT(ties, 0);
}

TEST(Activations, AStaticScaleSaturates) {
  const MatrixXd x = MatrixXd::Constant(1, 4, 10.0);
  EXPECT_DOUBLE_EQ(QuantiseActivations(WeightFormat::kFp8, x, 1 / 448.0)(0, 0), 1.0);
  EXPECT_EQ(QuantiseActivations(WeightFormat::kInt4G32, x, 1 / 448.0), x);
}

TEST(Streams, RefusesColumnsThatCutAGroup) {
  const ExpertShape gpt_oss{
      .tokens = 1, .top_k = 4, .experts = 32, .hidden = 2880, .intermediate = 2880};
  EXPECT_TRUE(Streams(WeightFormat::kInt4G32, gpt_oss));
  EXPECT_FALSE(Streams(WeightFormat::kInt4G128, gpt_oss));
  EXPECT_FALSE(Fits(WeightFormat::kInt4G128, 2880));
  EXPECT_TRUE(Streams(WeightFormat::kFp8Block, gpt_oss));
}

}  // namespace
}  // namespace moecast::kernels
