// Small text tools that error messages and printers share.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace moecast {

/// The member of `names` that `name` abbreviates, or else the nearest by edit distance; empty when
/// none is near enough to be a likely misspelling (distance > max(2, length/3)).
std::string_view NearestName(std::string_view name, std::span<const std::string> names);

/// "; did you mean 'x'?" or empty: the tail of an unknown-name message.
std::string DidYouMean(std::string_view name, std::span<const std::string> names);

/// Shortest text that reads back as the same double ("0.1", "1e+22"); never locale dependent.
std::string ShortestDouble(double value);
/// Fixed notation with the given number of digits after the point.
std::string Fixed(double value, int digits);
/// Bytes with a binary prefix and three significant digits, "12.3 GiB".
std::string HumanBytes(double bytes);
/// 16 lower-case hexadecimal digits.
std::string Hex64(uint64_t value);

}  // namespace moecast
