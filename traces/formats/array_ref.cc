#include "traces/formats/array_ref.h"

#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "sim/base/check.h"
#include "sim/base/comma_list.h"

namespace moecast {
namespace {

static_assert(std::endian::native == std::endian::little, "arrays are read in place");

struct TypeFacts {
  ElementType type;
  size_t bytes;
  std::string_view name;
};
constexpr std::array<TypeFacts, 13> kTypes = {{{ElementType::kBool, 1, "bool"},
                                               {ElementType::kU8, 1, "uint8"},
                                               {ElementType::kI8, 1, "int8"},
                                               {ElementType::kU16, 2, "uint16"},
                                               {ElementType::kI16, 2, "int16"},
                                               {ElementType::kU32, 4, "uint32"},
                                               {ElementType::kI32, 4, "int32"},
                                               {ElementType::kU64, 8, "uint64"},
                                               {ElementType::kI64, 8, "int64"},
                                               {ElementType::kF16, 2, "float16"},
                                               {ElementType::kBF16, 2, "bfloat16"},
                                               {ElementType::kF32, 4, "float32"},
                                               {ElementType::kF64, 8, "float64"}}};

const TypeFacts& FactsOf(ElementType type) { return kTypes[static_cast<size_t>(type)]; }

template <class T>
T LoadAs(const char* from) {
  T value{};
  std::memcpy(&value, from, sizeof(value));
  return value;
}

template <class T>
void Widen(std::span<const char> bytes, std::span<double> out) {
  for (size_t i = 0; i < out.size(); ++i) {
    out[i] = static_cast<double>(LoadAs<T>(bytes.data() + i * sizeof(T)));
  }
}

/// IEEE 754 binary16.
double FromHalf(uint16_t bits) {
  constexpr int kFractionBits = 10;
  constexpr int kBias = 15;
  constexpr int kSpecial = 31;
  const int exponent = (bits >> kFractionBits) & kSpecial;
  const int fraction = bits & ((1 << kFractionBits) - 1);
  double value = 0;
  if (exponent == kSpecial) {
    value = fraction == 0 ? std::numeric_limits<double>::infinity()
                          : std::numeric_limits<double>::quiet_NaN();
  } else if (exponent == 0) {
    value = std::ldexp(fraction, 1 - kBias - kFractionBits);
  } else {
    value = std::ldexp(fraction + (1 << kFractionBits), exponent - kBias - kFractionBits);
  }
  return (bits & 0x8000) != 0 ? -value : value;
}

}  // namespace

size_t ElementBytes(ElementType type) { return FactsOf(type).bytes; }
std::string_view Name(ElementType type) { return FactsOf(type).name; }
bool IsInteger(ElementType type) {
  return VisitInteger(type, [](auto) {});
}

std::optional<ElementType> ElementTypeNamed(std::string_view name) {
  for (const TypeFacts& facts : kTypes) {
    if (facts.name == name) return facts.type;
  }
  return std::nullopt;
}

std::optional<int64_t> ElementCount(std::span<const int64_t> shape) {
  constexpr int64_t kMost = int64_t{1} << 62;
  int64_t count = 1;
  for (const int64_t size : shape) {
    if (size < 0) return std::nullopt;
    if (size > 0 && count > kMost / size) return std::nullopt;
    count *= size;
  }
  return count;
}

std::string ShapeText(std::span<const int64_t> shape) {
  return "[" + CommaList(shape, [](int64_t length) { return std::to_string(length); }) + "]";
}

void ToDoubles(std::span<const char> bytes, ElementType type, std::span<double> out) {
  SIM_CHECK(bytes.size() == out.size() * ElementBytes(type));
  if (VisitInteger(type, [&](auto zero) { Widen<decltype(zero)>(bytes, out); })) return;
  if (type == ElementType::kBool) return Widen<uint8_t>(bytes, out);
  if (type == ElementType::kF32) return Widen<float>(bytes, out);
  if (type == ElementType::kF64) return Widen<double>(bytes, out);
  for (size_t i = 0; i < out.size(); ++i) {
    const auto bits = LoadAs<uint16_t>(bytes.data() + i * sizeof(uint16_t));
    out[i] = type == ElementType::kF16
                 ? FromHalf(bits)
                 : static_cast<double>(std::bit_cast<float>(uint32_t{bits} << 16));
  }
}

}  // namespace moecast
