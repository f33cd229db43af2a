// Exact readings of the numbers in request traces: decimal text to integers, never through a
// double, so no time is off by a rounding of its last digit.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace moecast {

/// A whole number >= 0, written "123" or "123.0". Empty: anything else, or more than 18 digits.
std::optional<int64_t> ParseCount(std::string_view text);

/// Powers of ten from a unit of time to nanoseconds.
enum class TimeUnit : int { kNanoseconds = 0, kMilliseconds = 6, kSeconds = 9 };

/// A time >= 0 in decimal notation, "12", "0.0319", "9.5e-05", in `unit`; rounded half up to a
/// whole nanosecond. Empty: anything else (NaN, a sign), or above kMaxArrival.
std::optional<int64_t> ParseTimeNs(std::string_view text, TimeUnit unit);

/// Nanoseconds since 1970 of "YYYY-MM-DD hh:mm:ss[.fraction][zone]": a T may stand for the blank,
/// the fraction has 1 to 9 digits, the zone is Z or +hh:mm or -hh:mm and is UTC when absent. Years
/// 1970 to 2261. Empty: anything else.
std::optional<int64_t> ParseTimestampNs(std::string_view text);

}  // namespace moecast
