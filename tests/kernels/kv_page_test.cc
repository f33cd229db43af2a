// Pages of quantised keys and values: every element has its own bits, the bits that the format page
// states, and bytes read back what was written.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <tuple>

#include "kernels/ops/kv/host_page.h"
#include "kernels/ops/kv/latent_layout.h"
#include "kernels/ops/kv/row_pieces.h"
#include "sim/base/rng.h"

namespace moecast::kernels {
namespace {

using Eigen::MatrixXi;

constexpr KvElement kElements[] = {KvElement::kBf16, KvElement::kE4m3, KvElement::kInt8,
                                   KvElement::kInt4, KvElement::kInt2, KvElement::kInt1};

class CodePlaces : public ::testing::TestWithParam<std::tuple<KvSide, int, int>> {};

TEST_P(CodePlaces, FillAPartWithoutGapOrOverlap) {
  const auto [side, bits, head_dim] = GetParam();
  std::set<int64_t> taken;
  const int64_t words = int64_t{kPageTokens} * head_dim * bits / 32;
  for (int token = 0; token < kPageTokens; ++token) {
    for (int channel = 0; channel < head_dim; ++channel) {
      const CodePlace at = PlaceOf(side, bits, head_dim, token, channel);
      ASSERT_TRUE(at.word >= 0 && at.word < words) << token << " " << channel;
      ASSERT_TRUE(at.shift % bits == 0 && at.shift + bits <= 32) << token << " " << channel;
      taken.insert(int64_t{32} * at.word + at.shift);
    }
  }
  EXPECT_EQ(taken.size(), static_cast<size_t>(kPageTokens) * static_cast<size_t>(head_dim));
}

// What a single token's append relies on.
class WideCodePlaces : public CodePlaces {};
TEST_P(WideCodePlaces, ATokenOwnsWholeBytes) {
  const auto [side, bits, head_dim] = GetParam();
  std::set<int> bytes_of[2];
  for (int channel = 0; channel < head_dim; ++channel) {
    for (int token = 0; token < kPageTokens; ++token) {
      const CodePlace at = PlaceOf(side, bits, head_dim, token, channel);
      bytes_of[token == 37 ? 1 : 0].insert(4 * at.word + at.shift / 8);
    }
  }
  for (const int byte : bytes_of[1]) EXPECT_EQ(bytes_of[0].count(byte), 0U);
}

// What mma.sync takes: a lane's four registers of one fragment hold these rows and columns.
TEST_P(CodePlaces, ALanesWordsAreItsOperands) {
  const auto [side, bits, head_dim] = GetParam();
  const bool keys = side == KvSide::kKeys;
  const int row_tile = 1;
  const int column_tile = 2;
  for (int lane = 0; lane < 32; ++lane) {
    const int g = lane / 4;
    const int q = lane % 4;
    int unit = -1;
    for (int reg = 0; reg < 4; ++reg) {
      for (int h = 0; h < 2; ++h) {
        const int row = row_tile * kTile + g + 8 * (reg % 2);
        const int column = column_tile * kTile + 2 * q + 8 * (reg / 2) + h;
        const CodePlace at =
            PlaceOf(side, bits, head_dim, keys ? row : column, keys ? column : row);
        if (unit < 0) unit = at.word / kUnitWords;
        EXPECT_EQ(at.word, unit * kUnitWords + lane * 4 + reg);
        EXPECT_EQ(at.shift / (bits == 8 ? 8 : 16) % 2, h);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, CodePlaces,
                         ::testing::Combine(::testing::Values(KvSide::kKeys, KvSide::kValues),
                                            ::testing::Values(1, 2, 4, 8, 16),
                                            ::testing::Values(64, 128)));
INSTANTIATE_TEST_SUITE_P(All, WideCodePlaces,
                         ::testing::Combine(::testing::Values(KvSide::kKeys, KvSide::kValues),
                                            ::testing::Values(4, 8, 16),
                                            ::testing::Values(64, 128)));

MatrixXi RandomCodes(RngStream& rng, KvElement element, int head_dim) {
  return MatrixXi::NullaryExpr(kPageTokens, head_dim, [&](Eigen::Index, Eigen::Index) {
    return static_cast<int>(rng.NextBelow(uint64_t{1} << BitsOf(element)));
  });
}

// What an append stores of one token, piece by piece, is where the page has the token's codes.
template <KvSide kSide, KvElement kElement, int kHeadDim>
void ExpectPiecesInPlace() {
  using Pieces = RowPieces<kSide, kElement, kHeadDim>;
  for (int token = 0; token < kPageTokens; ++token) {
    std::set<int> channels;
    for (int piece = 0; piece < Pieces::kOfRow; ++piece) {
      for (int code = 0; code < Pieces::kCodes; ++code) {
        const int channel = Pieces::Channel(piece) + Pieces::Offset(code);
        channels.insert(channel);
        const CodePlace at = PlaceOf(kSide, BitsOf(kElement), kHeadDim, token, channel);
        const int word = Pieces::kPaired ? code % 2 : 0;
        const int odd = Pieces::kPaired ? token % 2 * Pieces::kOddShift : 0;
        ASSERT_EQ(32 * at.word + at.shift,
                  8 * Pieces::Byte(piece, token) + 32 * word + Pieces::Shift(code) + odd)
            << token << " " << channel;
      }
    }
    EXPECT_EQ(channels.size(), static_cast<size_t>(kHeadDim));
  }
}
template <KvElement kElement>
void ExpectPiecesInPlace() {
  ExpectPiecesInPlace<KvSide::kKeys, kElement, 64>();
  ExpectPiecesInPlace<KvSide::kKeys, kElement, 128>();
  ExpectPiecesInPlace<KvSide::kValues, kElement, 64>();
  ExpectPiecesInPlace<KvSide::kValues, kElement, 128>();
}
TEST(RowPieces, AreWhereThePageHasTheTokensCodes) {
  ExpectPiecesInPlace<KvElement::kBf16>();
  ExpectPiecesInPlace<KvElement::kE4m3>();
  ExpectPiecesInPlace<KvElement::kInt8>();
  ExpectPiecesInPlace<KvElement::kInt4>();
}

TEST(KvPage, CodesReadBackAsWritten) {
  RngStream rng({.seed = 1}, "tests/kv_page");
  for (const KvElement element : kElements) {
    for (const int head_dim : {64, 128}) {
      for (const KvSide side : {KvSide::kKeys, KvSide::kValues}) {
        const MatrixXi codes = RandomCodes(rng, element, head_dim);
        std::vector<uint8_t> bytes(static_cast<size_t>(CodeBytes(element, head_dim)), 0xa5);
        WriteCodes(side, element, codes, bytes);
        EXPECT_EQ(ReadCodes(side, element, head_dim, bytes), codes) << Name(element);
      }
    }
  }
}

TEST(KvPage, MetadataReadsBackAsWrittenAndStaysBehindTheCodes) {
  RngStream rng({.seed = 2}, "tests/kv_page");
  const KvPart parts[] = {{.element = KvElement::kInt2, .axis = ScaleAxis::kChannel, .group = 32},
                          {.element = KvElement::kInt1, .axis = ScaleAxis::kChannel, .group = 128},
                          {.element = KvElement::kInt4, .axis = ScaleAxis::kToken, .group = 64},
                          {.element = KvElement::kE4m3, .axis = ScaleAxis::kToken, .group = 128}};
  for (const KvPart& part : parts) {
    const PartLayout layout = LayoutOf(part, 128, 256);
    std::vector<uint8_t> page(static_cast<size_t>(layout.scales + layout.metadata_bytes), 0x5a);
    reference::QuantisedPart metadata = ReadMetadata(part, layout, 128, page);
    metadata.scales = metadata.scales.unaryExpr(
        [&](double) { return static_cast<double>(1 + rng.NextBelow(1024)) / 256; });
    if (IsInteger(part.element))
      metadata.zeros = metadata.scales.unaryExpr(
          [&](double) { return -static_cast<double>(rng.NextBelow(2048)) / 64; });
    WriteMetadata(metadata, layout, page);
    const reference::QuantisedPart read = ReadMetadata(part, layout, 128, page);
    EXPECT_EQ(read.scales, metadata.scales);
    EXPECT_EQ(read.zeros, metadata.zeros);
    for (int byte = 0; byte < layout.scales; ++byte)
      ASSERT_EQ(page[static_cast<size_t>(byte)], 0x5a) << byte;
  }
}

TEST(KvPage, PartsFollowEachOtherAndSharedCodesTakeNoBytes) {
  KvScheme scheme{.keys = {.element = KvElement::kInt2, .axis = ScaleAxis::kChannel, .group = 32},
                  .values = {.element = KvElement::kInt1, .axis = ScaleAxis::kToken, .group = 32},
                  .window = {.flush = 128}};
  ASSERT_TRUE(Fits(scheme, 128));
  const PageLayout own = LayoutOf(scheme, 128);
  EXPECT_EQ(own.keys.code_bytes, 64 * 128 / 4);
  EXPECT_EQ(own.keys.metadata_bytes, 4 * 2 * 128);
  EXPECT_EQ(own.values.codes, own.keys.scales + own.keys.metadata_bytes);
  EXPECT_EQ(own.values.code_bytes, 64 * 128 / 8);
  EXPECT_EQ(own.values.zeros, own.values.scales + 2 * own.values.groups);
  scheme.values.shares_codes = true;
  const PageLayout shared = LayoutOf(scheme, 128);
  EXPECT_EQ(shared.values.code_bytes, 0);
  EXPECT_EQ(own.page_bytes - shared.page_bytes, 64 * 128 / 8);
}

TEST(KvWindow, TokensLeaveItAFlushAtATimeAndTheRingHoldsTheRest) {
  const KvWindow window{.sink = 64, .recent = 128, .flush = 64};
  EXPECT_EQ(RingPages(window), 3);
  EXPECT_EQ(WindowPages(window), 4);
  int64_t before = 0;
  for (int64_t tokens = 1; tokens <= 2000; ++tokens) {
    const int64_t quantised = QuantisedTokens(window, tokens);
    const int64_t ring = tokens - std::min<int64_t>(tokens, window.sink) - quantised;
    EXPECT_TRUE(quantised == before || quantised == before + window.flush);
    EXPECT_LT(ring, int64_t{RingPages(window)} * kPageTokens);
    if (quantised > 0) {
      EXPECT_GE(ring, window.recent);
    }
    before = quantised;
  }
  EXPECT_EQ(WindowPageOf(window, 63), 0);
  EXPECT_EQ(WindowPageOf(window, 64), 1);
  EXPECT_EQ(WindowPageOf(window, 64 + 3 * 64), 1);
}

TEST(LatentLayout, RowsTakeThePublishedBytesAndBitsDoNotOverlap) {
  EXPECT_EQ(LatentLayoutOf(KvElement::kBf16).page_bytes, 64 * (512 + 64) * 2);
  EXPECT_EQ(LatentLayoutOf(KvElement::kE4m3).page_bytes, 64 * 656);
  EXPECT_EQ(LatentLayoutOf(KvElement::kInt4).page_bytes, 64 * (256 + 16 + 128));
  for (const KvElement element : {KvElement::kBf16, KvElement::kE4m3, KvElement::kInt4}) {
    std::set<int> bits;
    for (int channel = 0; channel < kLatentChannels; ++channel)
      bits.insert(LatentBit(element, channel));
    EXPECT_EQ(bits.size(), static_cast<size_t>(kLatentChannels));
    EXPECT_EQ(*bits.rbegin() + BitsOf(element), 8 * LatentLayoutOf(element).row_bytes);
  }
}

TEST(KvScheme, RefusesWhatTheKernelsCannotStore) {
  const KvPart int4{.element = KvElement::kInt4, .group = 128};
  const KvPart keys2{.element = KvElement::kInt2, .axis = ScaleAxis::kChannel, .group = 32};
  const KvPart values2{.element = KvElement::kInt2, .group = 32};
  EXPECT_TRUE(Fits({.keys = int4, .values = int4}, 128));
  EXPECT_FALSE(Fits({.keys = int4, .values = int4}, 64));  // the group is wider than the head
  EXPECT_FALSE(Fits({.keys = int4, .values = int4}, 96));
  EXPECT_FALSE(Fits({.keys = keys2, .values = values2}, 128));  // no window
  EXPECT_TRUE(Fits({.keys = keys2, .values = values2, .window = {.flush = 128}}, 128));
  EXPECT_FALSE(Fits({.keys = keys2, .values = values2, .window = {.flush = 96}}, 128));
  EXPECT_FALSE(Fits({.keys = keys2, .values = keys2, .window = {.flush = 128}}, 128));
}

}  // namespace
}  // namespace moecast::kernels
