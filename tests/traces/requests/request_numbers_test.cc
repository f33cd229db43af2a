#include "traces/request_numbers.h"

#include <gtest/gtest.h>

#include <string>

#include "tests/support/property.h"

namespace moecast {
namespace {

TEST(ParseCount, ReadsWholeNumbersAndWholeDecimals) {
  EXPECT_EQ(ParseCount("0"), 0);
  EXPECT_EQ(ParseCount("4808"), 4808);
  EXPECT_EQ(ParseCount("007"), 7);
  EXPECT_EQ(ParseCount("12.0"), 12);
  EXPECT_EQ(ParseCount("12.000"), 12);
  EXPECT_EQ(ParseCount("999999999999999999"), 999999999999999999);
}

TEST(ParseCount, RejectsWhatIsNoWholeNumber) {
  for (const char* text : {"", " ", "-1", "+1", "1.5", "1.", ".0", "1e3", "0x10", "12a", "nan",
                           "1 2", "1000000000000000000", "99999999999999999999999"}) {
    EXPECT_EQ(ParseCount(text), std::nullopt) << text;
  }
}

TEST(ParseTimeNs, IsExactWhereADoubleIsNot) {
  // As doubles, 0.1 s * 1e9 is exact by luck, but these are off by one or more nanoseconds.
  EXPECT_EQ(ParseTimeNs("5.892655", TimeUnit::kSeconds), 5'892'655'000);
  EXPECT_EQ(ParseTimeNs("1700158623.979960001", TimeUnit::kSeconds), 1'700'158'623'979'960'001);
  EXPECT_EQ(ParseTimeNs("9007199254740993", TimeUnit::kNanoseconds), 9'007'199'254'740'993);
  EXPECT_EQ(ParseTimeNs("1700158623979.960001", TimeUnit::kMilliseconds),
            1'700'158'623'979'960'001);
}

TEST(ParseTimeNs, RoundsHalfUpToANanosecond) {
  EXPECT_EQ(ParseTimeNs("0.0000000004", TimeUnit::kSeconds), 0);
  EXPECT_EQ(ParseTimeNs("0.00000000049999999999999999999999", TimeUnit::kSeconds), 0);
  EXPECT_EQ(ParseTimeNs("0.0000000005", TimeUnit::kSeconds), 1);
  EXPECT_EQ(ParseTimeNs("5.8926549999999995", TimeUnit::kSeconds), 5'892'655'000);
  EXPECT_EQ(ParseTimeNs("1.4", TimeUnit::kNanoseconds), 1);
  EXPECT_EQ(ParseTimeNs("1.5", TimeUnit::kNanoseconds), 2);
  EXPECT_EQ(ParseTimeNs("1.49999999999999999999999999999", TimeUnit::kNanoseconds), 1);
}

TEST(ParseTimeNs, ReadsExponents) {
  EXPECT_EQ(ParseTimeNs("9.5e-05", TimeUnit::kSeconds), 95'000);
  EXPECT_EQ(ParseTimeNs("1E3", TimeUnit::kSeconds), 1'000'000'000'000);
  EXPECT_EQ(ParseTimeNs("1e+3", TimeUnit::kMilliseconds), 1'000'000'000);
  EXPECT_EQ(ParseTimeNs("5e-10", TimeUnit::kSeconds), 1);
  EXPECT_EQ(ParseTimeNs("4e-10", TimeUnit::kSeconds), 0);
  EXPECT_EQ(ParseTimeNs("9e-99999999999999999999", TimeUnit::kSeconds), 0);
  EXPECT_EQ(ParseTimeNs("0e99999999999999999999", TimeUnit::kSeconds), 0);
}

TEST(ParseTimeNs, StopsAtTheLatestArrival) {
  EXPECT_EQ(ParseTimeNs("4e9", TimeUnit::kSeconds), 4'000'000'000'000'000'000);
  EXPECT_EQ(ParseTimeNs("4000000000.0000000004", TimeUnit::kSeconds), 4'000'000'000'000'000'000);
  EXPECT_EQ(ParseTimeNs("4000000000.000000001", TimeUnit::kSeconds), std::nullopt);
  EXPECT_EQ(ParseTimeNs("4e10", TimeUnit::kSeconds), std::nullopt);
  EXPECT_EQ(ParseTimeNs("1e300", TimeUnit::kSeconds), std::nullopt);
  EXPECT_EQ(ParseTimeNs("99999999999999999999999999", TimeUnit::kNanoseconds), std::nullopt);
}

TEST(ParseTimeNs, RejectsWhatIsNoTime) {
  for (const char* text : {"", "-1", "-0.0", "+1", "nan", "NaN", "inf", ".", "e5", "1e", "1e+",
                           "1.2.3", "1,5", "0x1p3", " 1", "1 ", "1e5.0", "1e++5"}) {
    EXPECT_EQ(ParseTimeNs(text, TimeUnit::kSeconds), std::nullopt) << text;
  }
}

TEST(ParseTimeNs, GivesBackEveryNanosecondItIsShown) {
  test::ForAll("numbers/nanoseconds", {.cases = 2000}, [](RngStream& rng) {
    const auto ns = static_cast<int64_t>(rng.NextBelow(4'000'000'000'000'000'001));
    const std::string digits = std::to_string(ns % 1'000'000'000);
    const std::string text =
        std::to_string(ns / 1'000'000'000) + "." + std::string(9 - digits.size(), '0') + digits;
    EXPECT_EQ(ParseTimeNs(text, TimeUnit::kSeconds), ns) << text;
    EXPECT_EQ(ParseTimeNs(text + "4999", TimeUnit::kSeconds), ns) << text;
    EXPECT_EQ(ParseTimeNs(std::to_string(ns), TimeUnit::kNanoseconds), ns);
  });
}

TEST(ParseTimestampNs, CountsFromNineteenSeventy) {
  EXPECT_EQ(ParseTimestampNs("1970-01-01 00:00:00"), 0);
  EXPECT_EQ(ParseTimestampNs("1970-01-02 00:00:01.5"), 86'401'500'000'000);
  // `date -ud '2023-11-16 18:17:03' +%s` is 1700158623.
  EXPECT_EQ(ParseTimestampNs("2023-11-16 18:17:03.9799600"), 1'700'158'623'979'960'000);
  EXPECT_EQ(ParseTimestampNs("2023-11-16T18:17:03.979960001Z"), 1'700'158'623'979'960'001);
  // The day after 29 February of a leap year: `date -ud 2024-03-01 +%s` is 1709251200.
  EXPECT_EQ(ParseTimestampNs("2024-03-01 00:00:00"), 1'709'251'200'000'000'000);
}

TEST(ParseTimestampNs, ReadsTheZone) {
  const auto utc = ParseTimestampNs("2024-05-12 00:00:00");
  EXPECT_EQ(ParseTimestampNs("2024-05-12 00:00:00+00:00"), utc);
  EXPECT_EQ(ParseTimestampNs("2024-05-12 02:00:00.0+02:00"), utc);
  EXPECT_EQ(ParseTimestampNs("2024-05-11 18:30:00-05:30"), utc);
}

TEST(ParseTimestampNs, RejectsWhatIsNoTimestamp) {
  for (const char* text :
       {"", "2023-11-16", "2023-11-16 18:17", "2023-13-01 00:00:00", "2023-02-29 00:00:00",
        "2023-11-16 24:00:00", "2023-11-16 18:60:00", "2023-11-16 18:17:60", "1969-12-31 23:59:59",
        "2262-01-01 00:00:00", "2023-11-16 18:17:03.", "2023-11-16 18:17:03.1234567890",
        "2023-11-16 18:17:03,5", "2023-11-16 18:17:03 UTC", "2023-11-16 18:17:03+5",
        "23-11-16 18:17:03", "2023/11/16 18:17:03", "1970-01-01 00:00:00+01:00",
        "2023-11-16  18:17:03"}) {
    EXPECT_EQ(ParseTimestampNs(text), std::nullopt) << text;
  }
}

}  // namespace
}  // namespace moecast
