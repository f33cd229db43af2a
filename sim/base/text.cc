#include "sim/base/text.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <vector>

#include "sim/base/check.h"

namespace moecast {
namespace {

char AsciiLower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

// Edits that turn a into b: insert, delete, replace, or swap two neighbours; case is ignored.
// Optimal string alignment, three rolling rows. [Damerau64]
size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> before_previous(b.size() + 1);
  std::vector<size_t> previous(b.size() + 1);
  std::vector<size_t> current(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) current[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    before_previous.swap(previous);
    previous.swap(current);
    current[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const bool same = AsciiLower(a[i - 1]) == AsciiLower(b[j - 1]);
      current[j] =
          std::min({previous[j] + 1, current[j - 1] + 1, previous[j - 1] + (same ? 0 : 1)});
      const bool swapped = i > 1 && j > 1 && AsciiLower(a[i - 1]) == AsciiLower(b[j - 2]) &&
                           AsciiLower(a[i - 2]) == AsciiLower(b[j - 1]);
      if (swapped) current[j] = std::min(current[j], before_previous[j - 2] + 1);
    }
  }
  return current[b.size()];
}

/// The shortest member of `names` that begins with `name`, in any case; empty when none does.
std::string_view Abbreviated(std::string_view name, std::span<const std::string> names) {
  constexpr size_t kShortestAbbreviation = 2;
  if (name.size() < kShortestAbbreviation) return {};
  std::string_view whole;
  for (const std::string& candidate : names) {
    const bool begins = candidate.size() > name.size() &&
                        std::equal(name.begin(), name.end(), candidate.begin(),
                                   [](char a, char b) { return AsciiLower(a) == AsciiLower(b); });
    if (begins && (whole.empty() || candidate.size() < whole.size())) whole = candidate;
  }
  return whole;
}

}  // namespace

std::string_view NearestName(std::string_view name, std::span<const std::string> names) {
  if (const std::string_view whole = Abbreviated(name, names); !whole.empty()) return whole;
  const size_t limit = std::max<size_t>(2, name.size() / 3);
  std::string_view nearest;
  size_t nearest_distance = limit + 1;
  for (const std::string& candidate : names) {
    const size_t distance = EditDistance(name, candidate);
    const bool shares_something = distance < std::max(name.size(), candidate.size());
    if (distance < nearest_distance && shares_something) {
      nearest = candidate;
      nearest_distance = distance;
    }
  }
  return nearest;
}

std::string DidYouMean(std::string_view name, std::span<const std::string> names) {
  const std::string_view nearest = NearestName(name, names);
  if (nearest.empty()) return {};
  return "; did you mean '" + std::string(nearest) + "'?";
}

std::string ShortestDouble(double value) {
  const double magnitude = std::abs(value);
  const bool plain = magnitude == 0 || (magnitude >= 1e-4 && magnitude < 1e16);
  std::array<char, 32> buffer{};
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value,
                                 plain ? std::chars_format::fixed : std::chars_format::scientific);
  SIM_CHECK(end.ec == std::errc());
  return {buffer.data(), end.ptr};
}

std::string Fixed(double value, int digits) {
  constexpr size_t kLongestDouble = 320;  // sign, 309 digits before the point, the point
  std::string text(kLongestDouble + static_cast<size_t>(digits), '\0');
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value,
                                 std::chars_format::fixed, digits);
  SIM_CHECK(end.ec == std::errc());
  text.resize(static_cast<size_t>(end.ptr - text.data()));
  const bool negative_zero = text[0] == '-' && text.find_first_not_of("-0.") == std::string::npos;
  if (negative_zero) text.erase(0, 1);
  return text;
}

std::string HumanBytes(double bytes) {
  constexpr std::array<std::string_view, 7> kUnits = {"B",   "KiB", "MiB", "GiB",
                                                      "TiB", "PiB", "EiB"};
  constexpr double kFirstFourDigits = 999.5;
  double scaled = bytes;
  size_t unit = 0;
  while (std::abs(scaled) >= kFirstFourDigits && unit + 1 < kUnits.size()) {
    scaled /= 1024;
    ++unit;
  }
  const double magnitude = std::abs(scaled);
  int digits = 0;
  if (unit > 0) digits = magnitude < 0.9995 ? 3 : magnitude < 9.995 ? 2 : magnitude < 99.95 ? 1 : 0;
  return Fixed(scaled, digits) + ' ' + std::string(kUnits[unit]);
}

std::string Hex64(uint64_t value) {
  std::string text(16, '0');
  for (size_t i = text.size(); i-- > 0; value >>= 4) text[i] = "0123456789abcdef"[value & 0xf];
  return text;
}

}  // namespace moecast
