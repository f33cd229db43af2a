// Scalars as the strict reader takes them: no octal, no "yes", no NaN, no units inside values.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace moecast {

/// Decimal digits with an optional minus, no leading zeros, within int64.
std::optional<int64_t> ReadWholeNumber(std::string_view text);
/// Finite decimal or scientific number, no leading plus.
std::optional<double> ReadNumber(std::string_view text);
/// "true" or "false".
std::optional<bool> ReadBool(std::string_view text);

}  // namespace moecast
