#include "traces/formats/base64.h"

#include <array>
#include <cstdint>

namespace moecast {
namespace {

constexpr uint8_t kNone = 0xff;

constexpr std::array<uint8_t, 256> MakeValues() {
  constexpr std::string_view kAlphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::array<uint8_t, 256> values{};
  for (uint8_t& value : values) value = kNone;
  for (size_t i = 0; i < kAlphabet.size(); ++i) {
    values[static_cast<uint8_t>(kAlphabet[i])] = static_cast<uint8_t>(i);
  }
  return values;
}
constexpr std::array<uint8_t, 256> kValues = MakeValues();

uint8_t ValueOf(char c) { return kValues[static_cast<uint8_t>(c)]; }

Base64Problem BadCharacter(std::string_view text, size_t from) {
  while (from < text.size() && ValueOf(text[from]) != kNone) ++from;
  return {from, "is not Base64 at character " + std::to_string(from)};
}

}  // namespace

std::optional<Base64Problem> DecodeBase64(std::string_view text, std::string& bytes) {
  if (text.size() % 4 != 0) {
    return Base64Problem{text.size(), "is truncated Base64: " + std::to_string(text.size()) +
                                          " characters, a multiple of 4 is needed"};
  }
  const size_t padding = text.ends_with("==") ? 2 : (text.ends_with('=') ? 1 : 0);
  const std::string_view digits = text.substr(0, text.size() - padding);
  bytes.resize(text.size() / 4 * 3 - padding);
  size_t out = 0;
  size_t at = 0;
  for (; at + 4 <= digits.size(); at += 4) {
    const uint8_t a = ValueOf(digits[at]);
    const uint8_t b = ValueOf(digits[at + 1]);
    const uint8_t c = ValueOf(digits[at + 2]);
    const uint8_t d = ValueOf(digits[at + 3]);
    if ((a | b | c | d) == kNone) return BadCharacter(text, at);
    const uint32_t word = uint32_t{a} << 18 | uint32_t{b} << 12 | uint32_t{c} << 6 | d;
    bytes[out++] = static_cast<char>(word >> 16);
    bytes[out++] = static_cast<char>(word >> 8 & 0xff);
    bytes[out++] = static_cast<char>(word & 0xff);
  }
  uint32_t word = 0;
  const size_t left = digits.size() - at;
  for (size_t i = 0; i < left; ++i) {
    const uint8_t value = ValueOf(digits[at + i]);
    if (value == kNone) return BadCharacter(text, at + i);
    word = word << 6 | value;
  }
  if (left == 2) bytes[out++] = static_cast<char>(word >> 4);
  if (left == 3) {
    bytes[out++] = static_cast<char>(word >> 10);
    bytes[out++] = static_cast<char>(word >> 2 & 0xff);
  }
  return std::nullopt;
}

}  // namespace moecast
