#include "scenarios/yaml_scalar.h"

#include <charconv>
#include <cmath>

namespace moecast {
namespace {

template <class T>
std::optional<T> ReadAll(std::string_view text) {
  T value{};
  const auto end = std::from_chars(text.data(), text.data() + text.size(), value);
  if (end.ec != std::errc() || end.ptr != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

std::optional<int64_t> ReadWholeNumber(std::string_view text) {
  const std::string_view digits = text.starts_with('-') ? text.substr(1) : text;
  if (digits.size() > 1 && digits.starts_with('0')) return std::nullopt;
  return ReadAll<int64_t>(text);
}

std::optional<double> ReadNumber(std::string_view text) {
  const std::optional<double> value = ReadAll<double>(text);
  if (!value || !std::isfinite(*value)) return std::nullopt;
  return value;
}

std::optional<bool> ReadBool(std::string_view text) {
  if (text == "true") return true;
  if (text == "false") return false;
  return std::nullopt;
}

}  // namespace moecast
