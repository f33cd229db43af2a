#include "traces/formats/safetensors.h"

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

namespace moecast {
namespace {

namespace json = boost::json;

constexpr uint64_t kLengthBytes = 8;

struct TypeName {
  std::string_view text;
  ElementType type;
};
constexpr std::array<TypeName, 13> kTypeNames = {{{"BOOL", ElementType::kBool},
                                                  {"U8", ElementType::kU8},
                                                  {"I8", ElementType::kI8},
                                                  {"U16", ElementType::kU16},
                                                  {"I16", ElementType::kI16},
                                                  {"U32", ElementType::kU32},
                                                  {"I32", ElementType::kI32},
                                                  {"U64", ElementType::kU64},
                                                  {"I64", ElementType::kI64},
                                                  {"F16", ElementType::kF16},
                                                  {"BF16", ElementType::kBF16},
                                                  {"F32", ElementType::kF32},
                                                  {"F64", ElementType::kF64}}};

Result<json::object> ReadHeader(const ByteFile& file, uint64_t& data) {
  if (file.size() < kLengthBytes) return file.Fail("truncated: too short for safetensors");
  SIM_TRY(const std::string length_bytes, file.Read(0, kLengthBytes));
  uint64_t length = 0;
  std::memcpy(&length, length_bytes.data(), kLengthBytes);
  if (length > file.size() - kLengthBytes || length > kMaxSafetensorsHeaderBytes) {
    return file.At(0, "the safetensors header says it has " + std::to_string(length) +
                          " bytes; the file has " + std::to_string(file.size()) + ", and at most " +
                          std::to_string(kMaxSafetensorsHeaderBytes) + " are allowed");
  }
  SIM_TRY(const std::string text, file.Read(kLengthBytes, length));
  json::stream_parser parser;
  json::error_code error;
  const size_t used = parser.write_some(text, error);
  if (!error) parser.finish(error);
  if (!error && std::string_view(text).find_first_not_of(' ', used) != std::string_view::npos) {
    error = json::error::extra_data;
  }
  if (error) {
    return file.At(kLengthBytes + used, "the safetensors header is not JSON: " + error.message());
  }
  json::value value = parser.release();
  if (!value.is_object()) return file.At(kLengthBytes, "the safetensors header is not an object");
  data = kLengthBytes + length;
  return std::move(value.as_object());
}

/// A list of whole numbers >= 0.
std::optional<std::vector<int64_t>> Counts(const json::object& entry, std::string_view key) {
  const json::value* value = entry.if_contains(key);
  if (value == nullptr || !value->is_array()) return std::nullopt;
  std::vector<int64_t> counts;
  for (const json::value& item : value->as_array()) {
    if (!item.is_int64() || item.as_int64() < 0) return std::nullopt;
    counts.push_back(item.as_int64());
  }
  return counts;
}

std::optional<ElementType> TypeOf(const json::object& entry) {
  const json::value* value = entry.if_contains("dtype");
  if (value == nullptr || !value->is_string()) return std::nullopt;
  const auto* name =
      std::ranges::find(kTypeNames, std::string_view(value->as_string()), &TypeName::text);
  return name == kTypeNames.end() ? std::nullopt : std::optional(name->type);
}

Result<ArrayRef> ReadArray(const ByteFile& file, uint64_t data, std::string_view name,
                           const json::value& value) {
  const auto wrong = [&](const std::string& what) {
    return file.At(kLengthBytes, "safetensors array '" + std::string(name) + "': " + what);
  };
  if (!value.is_object()) return wrong("is not an object");
  const json::object& entry = value.as_object();
  const std::optional<ElementType> type = TypeOf(entry);
  if (!type) return wrong("its dtype is missing or not one that is read");
  const auto shape = Counts(entry, "shape");
  const auto offsets = Counts(entry, "data_offsets");
  if (!shape || !offsets || offsets->size() != 2) {
    return wrong("shape and data_offsets must be lists of whole numbers");
  }
  const auto room = static_cast<int64_t>(file.size() - data);
  if ((*offsets)[0] > (*offsets)[1] || (*offsets)[1] > room) {
    return wrong("its bytes " + std::to_string((*offsets)[0]) + " to " +
                 std::to_string((*offsets)[1]) + " are not within the " + std::to_string(room) +
                 " bytes of data");
  }
  const auto count = ElementCount(*shape);
  const auto bytes = static_cast<int64_t>(ElementBytes(*type));
  const int64_t size = (*offsets)[1] - (*offsets)[0];
  if (!count || *count != size / bytes || size % bytes != 0) {
    return wrong(ShapeText(*shape) + " of " + std::string(Name(*type)) + " does not fill its " +
                 std::to_string(size) + " bytes");
  }
  return ArrayRef{
      .type = *type, .shape = *shape, .offset = data + static_cast<uint64_t>((*offsets)[0])};
}

Status CheckOverlap(const ByteFile& file, const std::map<std::string, ArrayRef>& arrays) {
  std::vector<std::pair<uint64_t, uint64_t>> ranges;
  for (const auto& [name, array] : arrays) {
    const auto count = static_cast<uint64_t>(*ElementCount(array.shape));
    if (count > 0)
      ranges.emplace_back(array.offset, array.offset + count * ElementBytes(array.type));
  }
  std::ranges::sort(ranges);
  for (size_t i = 1; i < ranges.size(); ++i) {
    if (ranges[i].first < ranges[i - 1].second) {
      return file.At(ranges[i].first, "two safetensors arrays overlap here");
    }
  }
  return Ok();
}

}  // namespace

Result<std::map<std::string, ArrayRef>> ReadSafetensors(const ByteFile& file) {
  uint64_t data = 0;
  SIM_TRY(const json::object header, ReadHeader(file, data));
  std::map<std::string, ArrayRef> arrays;
  for (const auto& [key, value] : header) {
    if (key == "__metadata__") continue;
    SIM_TRY(ArrayRef array, ReadArray(file, data, key, value));
    arrays.emplace(std::string(key), std::move(array));
  }
  SIM_RETURN_IF_ERROR(CheckOverlap(file, arrays));
  return arrays;
}

}  // namespace moecast
