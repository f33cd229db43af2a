#include "sim/base/text.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <string>
#include <vector>

#include "tests/support/property.h"

namespace moecast {
namespace {

const std::vector<std::string> kFields = {"model", "device", "replicas", "top_k", "workload"};

TEST(NearestName, FindsTheMisspelledName) {
  EXPECT_EQ(NearestName("modle", kFields), "model");       // swapped
  EXPECT_EQ(NearestName("replica", kFields), "replicas");  // missing
  EXPECT_EQ(NearestName("devvice", kFields), "device");    // doubled
  EXPECT_EQ(NearestName("topk", kFields), "top_k");
  EXPECT_EQ(NearestName("MODEL", kFields), "model");  // case
  EXPECT_EQ(NearestName("worklaods", kFields), "workload");
}

TEST(NearestName, AnAbbreviationStandsForItsShortestWhole) {
  const std::vector<std::string> gpus = {"B200", "H200-SXM-141G", "H200-SXM", "H20"};
  EXPECT_EQ(NearestName("h200", gpus), "H200-SXM");
}

TEST(NearestName, OffersNothingFarAway) {
  EXPECT_EQ(NearestName("temperature", kFields), "");
  EXPECT_EQ(NearestName("", kFields), "");
  EXPECT_EQ(NearestName("ab", std::vector<std::string>{"xy"}), "");
  EXPECT_EQ(NearestName("model", {}), "");
}

TEST(NearestName, ASwapIsNearerThanTwoReplacements) {
  EXPECT_EQ(NearestName("ba", std::vector<std::string>{"bcd", "ab"}), "ab");
}

TEST(NearestName, TheFirstOfEquallyNearNamesWins) {
  EXPECT_EQ(NearestName("h300", std::vector<std::string>{"h100", "h200"}), "h100");
}

TEST(DidYouMean, IsTheTailOfAMessageOrNothing) {
  EXPECT_EQ(DidYouMean("modle", kFields), "; did you mean 'model'?");
  EXPECT_EQ(DidYouMean("temperature", kFields), "");
}

TEST(ShortestDouble, WritesWhatAPersonWould) {
  EXPECT_EQ(ShortestDouble(0.1), "0.1");
  EXPECT_EQ(ShortestDouble(-2.5), "-2.5");
  EXPECT_EQ(ShortestDouble(0), "0");
  EXPECT_EQ(ShortestDouble(100000), "100000");
  EXPECT_EQ(ShortestDouble(1.0 / 3), "0.3333333333333333");
  EXPECT_EQ(ShortestDouble(1e22), "1e+22");
  EXPECT_EQ(ShortestDouble(2.5e-7), "2.5e-07");
}

TEST(ShortestDouble, ReadsBackAsTheSameNumber) {
  test::ForAll("text/round trip", {.cases = 20'000}, [](RngStream& rng) {
    const auto value = std::bit_cast<double>(rng.NextU64());
    if (!std::isfinite(value)) return;
    EXPECT_EQ(std::strtod(ShortestDouble(value).c_str(), nullptr), value);
  });
}

TEST(Fixed, RoundsToTheDigitsAsked) {
  EXPECT_EQ(Fixed(3.14159, 2), "3.14");
  EXPECT_EQ(Fixed(2, 3), "2.000");
  EXPECT_EQ(Fixed(1234567.8, 0), "1234568");
  EXPECT_EQ(Fixed(-0.04, 1), "0.0");  // never "-0.0"
  EXPECT_EQ(Fixed(-0.06, 1), "-0.1");
}

TEST(Fixed, HoldsTheLargestDouble) {
  const std::string text = Fixed(-std::numeric_limits<double>::max(), 9);
  EXPECT_EQ(text.size(), 1U + 309U + 1U + 9U);
}

TEST(HumanBytes, HasThreeSignificantDigits) {
  EXPECT_EQ(HumanBytes(0), "0 B");
  EXPECT_EQ(HumanBytes(999), "999 B");
  EXPECT_EQ(HumanBytes(1000), "0.977 KiB");
  EXPECT_EQ(HumanBytes(1024), "1.00 KiB");
  EXPECT_EQ(HumanBytes(12.34 * 1024 * 1024), "12.3 MiB");
  EXPECT_EQ(HumanBytes(80e9), "74.5 GiB");
  EXPECT_EQ(HumanBytes(-2048), "-2.00 KiB");
  EXPECT_EQ(HumanBytes(9.999 * 1024), "10.0 KiB");
  EXPECT_EQ(HumanBytes(999.7 * 1024), "0.976 MiB");
}

TEST(HumanBytes, TheLastUnitTakesTheRest) {
  EXPECT_EQ(HumanBytes(std::ldexp(1.0, 60) * 5000), "5000 EiB");
}

TEST(Hex64, HasSixteenDigits) {
  EXPECT_EQ(Hex64(0), "0000000000000000");
  EXPECT_EQ(Hex64(0x0123456789abcdef), "0123456789abcdef");
  EXPECT_EQ(Hex64(~uint64_t{0}), "ffffffffffffffff");
}

}  // namespace
}  // namespace moecast
