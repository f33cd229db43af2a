// ArrayRef: where a dense array lies in a file; and the element types that foreign formats use.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace moecast {

enum class ElementType {
  kBool,
  kU8,
  kI8,
  kU16,
  kI16,
  kU32,
  kI32,
  kU64,
  kI64,
  kF16,
  kBF16,
  kF32,
  kF64
};

size_t ElementBytes(ElementType type);
/// "uint8", "int32", "bfloat16": as NumPy and PyTorch call them.
std::string_view Name(ElementType type);
bool IsInteger(ElementType type);
/// The type that PyTorch calls so ("uint8"); NumPy and Dynamo use the same names.
std::optional<ElementType> ElementTypeNamed(std::string_view name);

/// A little-endian array in C order.
struct ArrayRef {
  ElementType type = ElementType::kU8;
  std::vector<int64_t> shape;  // slowest first; empty: one element
  uint64_t offset = 0;         // of its first byte in the file
};

/// Elements of a shape; none when a dimension is negative or the product exceeds 2^62.
std::optional<int64_t> ElementCount(std::span<const int64_t> shape);
/// "[39, 27, 6]".
std::string ShapeText(std::span<const int64_t> shape);

/// The elements as doubles; 64-bit integers above 2^53 are rounded.
/// REQUIRES: bytes.size() is out.size() * ElementBytes(type).
void ToDoubles(std::span<const char> bytes, ElementType type, std::span<double> out);

/// Calls `visit` with a zero of the C++ type of an integer element; false for other types.
template <class Visitor>
bool VisitInteger(ElementType type, const Visitor& visit) {
  switch (type) {
    case ElementType::kU8:
      visit(uint8_t{});
      return true;
    case ElementType::kI8:
      visit(int8_t{});
      return true;
    case ElementType::kU16:
      visit(uint16_t{});
      return true;
    case ElementType::kI16:
      visit(int16_t{});
      return true;
    case ElementType::kU32:
      visit(uint32_t{});
      return true;
    case ElementType::kI32:
      visit(int32_t{});
      return true;
    case ElementType::kU64:
      visit(uint64_t{});
      return true;
    case ElementType::kI64:
      visit(int64_t{});
      return true;
    case ElementType::kBool:
    case ElementType::kF16:
    case ElementType::kBF16:
    case ElementType::kF32:
    case ElementType::kF64:
      return false;
  }
  return false;
}

}  // namespace moecast
