#include "traces/request_numbers.h"

#include <array>
#include <charconv>
#include <chrono>
#include <cstddef>

#include "sim/base/units.h"
#include "traces/request.h"

namespace moecast {
namespace {

constexpr int64_t kMaxNs = kMaxArrival.time_since_epoch().count();
constexpr uint64_t kMaxMantissa = 1'000'000'000'000'000'000;
constexpr int kMantissaDigits = 18;

constexpr auto kPowersOfTen = [] {
  std::array<uint64_t, kMantissaDigits + 2> powers{1};
  for (size_t i = 1; i < powers.size(); ++i) powers[i] = powers[i - 1] * 10;
  return powers;
}();

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// mantissa * 10^exponent.
struct Decimal {
  uint64_t mantissa = 0;
  int64_t exponent = 0;
};

std::optional<int64_t> ParseExponent(std::string_view text) {
  if (text.starts_with('+')) text.remove_prefix(1);
  constexpr int64_t kLargest = 1000;  // beyond it every value is zero or out of range
  int64_t exponent = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), exponent);
  if (error == std::errc::result_out_of_range) return text.starts_with('-') ? -kLargest : kLargest;
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return exponent;
}

// digits[.digits][e[sign]digits]. Digits past the nineteenth significant one are dropped; they
// cannot change a value rounded half up, because half a unit of a kept digit has no dropped digits.
std::optional<Decimal> ParseDecimal(std::string_view text) {
  Decimal number;
  size_t i = 0;
  size_t digits = 0;
  bool after_point = false;
  for (; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '.' && !after_point) {
      after_point = true;
      continue;
    }
    if (!IsDigit(c)) break;
    ++digits;
    if (number.mantissa < kMaxMantissa) {
      number.mantissa = number.mantissa * 10 + static_cast<uint64_t>(c - '0');
      if (after_point) --number.exponent;
    } else if (!after_point) {
      ++number.exponent;
    }
  }
  if (digits == 0) return std::nullopt;
  if (i == text.size()) return number;
  if (text[i] != 'e' && text[i] != 'E') return std::nullopt;
  const auto exponent = ParseExponent(text.substr(i + 1));
  if (!exponent) return std::nullopt;
  number.exponent += *exponent;
  return number;
}

// A number of exactly `width` digits at the front of `text`, which it removes.
std::optional<int> TakeDigits(std::string_view& text, size_t width) {
  if (text.size() < width) return std::nullopt;
  int value = 0;
  for (size_t i = 0; i < width; ++i) {
    if (!IsDigit(text[i])) return std::nullopt;
    value = value * 10 + (text[i] - '0');
  }
  text.remove_prefix(width);
  return value;
}

bool TakeChar(std::string_view& text, std::string_view any_of) {
  if (text.empty() || any_of.find(text.front()) == std::string_view::npos) return false;
  text.remove_prefix(1);
  return true;
}

// Three two-digit numbers, or two, separated by colons, in seconds; the hour below 24.
std::optional<int64_t> TakeClock(std::string_view& text, bool with_seconds) {
  const auto hour = TakeDigits(text, 2);
  if (!hour || *hour > 23 || !TakeChar(text, ":")) return std::nullopt;
  const auto minute = TakeDigits(text, 2);
  if (!minute || *minute > 59) return std::nullopt;
  const int64_t seconds = (int64_t{*hour} * 60 + *minute) * 60;
  if (!with_seconds) return seconds;
  if (!TakeChar(text, ":")) return std::nullopt;
  const auto second = TakeDigits(text, 2);
  if (!second || *second > 59) return std::nullopt;
  return seconds + *second;
}

std::optional<int64_t> TakeDate(std::string_view& text) {
  const auto year = TakeDigits(text, 4);
  if (!year || !TakeChar(text, "-")) return std::nullopt;
  const auto month = TakeDigits(text, 2);
  if (!month || !TakeChar(text, "-")) return std::nullopt;
  const auto day = TakeDigits(text, 2);
  if (!day) return std::nullopt;
  const std::chrono::year_month_day date{std::chrono::year(*year),
                                         std::chrono::month(static_cast<unsigned>(*month)),
                                         std::chrono::day(static_cast<unsigned>(*day))};
  constexpr int kFirstYear = 1970;
  constexpr int kLastYear = 2261;  // the last whole year that int64 nanoseconds hold
  if (!date.ok() || *year < kFirstYear || *year > kLastYear) return std::nullopt;
  return std::chrono::sys_days(date).time_since_epoch().count();
}

// [.digits], in nanoseconds.
std::optional<int64_t> TakeFraction(std::string_view& text) {
  if (!TakeChar(text, ".")) return 0;
  constexpr size_t kNsDigits = 9;
  size_t width = 0;
  while (width < text.size() && IsDigit(text[width])) ++width;
  if (width == 0 || width > kNsDigits) return std::nullopt;
  return *TakeDigits(text, width) * static_cast<int64_t>(kPowersOfTen[kNsDigits - width]);
}

// Seconds east of UTC; the rest of the text must be a zone or nothing.
std::optional<int64_t> ParseZone(std::string_view text) {
  if (text.empty() || text == "Z") return 0;
  const bool west = text.front() == '-';
  if (!TakeChar(text, "+-")) return std::nullopt;
  const auto offset = TakeClock(text, false);
  if (!offset || !text.empty()) return std::nullopt;
  return west ? -*offset : *offset;
}

}  // namespace

std::optional<int64_t> ParseCount(std::string_view text) {
  size_t i = 0;
  int64_t value = 0;
  for (; i < text.size() && i < kMantissaDigits && IsDigit(text[i]); ++i) {
    value = value * 10 + (text[i] - '0');
  }
  if (i == 0) return std::nullopt;
  if (i == text.size()) return value;
  if (text[i] != '.' || i + 1 == text.size()) return std::nullopt;
  if (text.find_first_not_of('0', i + 1) != std::string_view::npos) return std::nullopt;
  return value;
}

std::optional<int64_t> ParseTimeNs(std::string_view text, TimeUnit unit) {
  const auto number = ParseDecimal(text);
  if (!number) return std::nullopt;
  const int64_t exponent = number->exponent + static_cast<int>(unit);
  if (number->mantissa == 0) return 0;
  if (exponent >= 0) {
    if (exponent > kMantissaDigits) return std::nullopt;
    const uint64_t scale = kPowersOfTen[static_cast<size_t>(exponent)];
    if (number->mantissa > static_cast<uint64_t>(kMaxNs) / scale) return std::nullopt;
    return static_cast<int64_t>(number->mantissa * scale);
  }
  if (-exponent >= static_cast<int64_t>(kPowersOfTen.size())) {
    return 0;  // ten units of the mantissa's last digit are below half a nanosecond
  }
  const uint64_t scale = kPowersOfTen[static_cast<size_t>(-exponent)];
  const uint64_t whole = number->mantissa / scale;
  const uint64_t rounded = whole + (number->mantissa % scale >= scale - scale / 2 ? 1 : 0);
  if (rounded > static_cast<uint64_t>(kMaxNs)) return std::nullopt;
  return static_cast<int64_t>(rounded);
}

std::optional<int64_t> ParseTimestampNs(std::string_view text) {
  constexpr int64_t kSecondsPerDay = 86400;
  constexpr int64_t kNsPerWholeSecond = 1'000'000'000;
  const auto days = TakeDate(text);
  if (!days || !TakeChar(text, " T")) return std::nullopt;
  const auto seconds = TakeClock(text, true);
  if (!seconds) return std::nullopt;
  const auto fraction = TakeFraction(text);
  const auto east = fraction ? ParseZone(text) : std::nullopt;
  if (!east) return std::nullopt;
  const int64_t utc_seconds = *days * kSecondsPerDay + *seconds - *east;
  if (utc_seconds < 0) return std::nullopt;
  return utc_seconds * kNsPerWholeSecond + *fraction;
}

}  // namespace moecast
