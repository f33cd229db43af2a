#include "traces/formats/npy.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <string>
#include <string_view>

#include "sim/base/text.h"

namespace moecast {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr uint64_t kFixedBytes = 8;  // magic and version

struct Descr {
  std::string_view text;
  ElementType type;
};
constexpr std::array<Descr, 12> kDescrs = {{{"|b1", ElementType::kBool},
                                            {"|u1", ElementType::kU8},
                                            {"|i1", ElementType::kI8},
                                            {"<u2", ElementType::kU16},
                                            {"<i2", ElementType::kI16},
                                            {"<u4", ElementType::kU32},
                                            {"<i4", ElementType::kI32},
                                            {"<u8", ElementType::kU64},
                                            {"<i8", ElementType::kI64},
                                            {"<f2", ElementType::kF16},
                                            {"<f4", ElementType::kF32},
                                            {"<f8", ElementType::kF64}}};

/// The header's Python dict, walked from left to right.
class DictText {
 public:
  explicit DictText(std::string_view text) : text_(text) {}

  bool Take(char wanted) {
    SkipSpaces();
    if (at_ == text_.size() || text_[at_] != wanted) return false;
    ++at_;
    return true;
  }
  std::optional<std::string_view> Quoted() {
    SkipSpaces();
    if (at_ == text_.size() || (text_[at_] != '\'' && text_[at_] != '"')) return std::nullopt;
    const size_t end = text_.find(text_[at_], at_ + 1);
    if (end == std::string_view::npos) return std::nullopt;
    const std::string_view value = text_.substr(at_ + 1, end - at_ - 1);
    at_ = end + 1;
    return value;
  }
  std::optional<bool> Boolean() {
    SkipSpaces();
    for (const bool value : {true, false}) {
      const std::string_view word = value ? "True" : "False";
      if (!text_.substr(at_).starts_with(word)) continue;
      at_ += word.size();
      return value;
    }
    return std::nullopt;
  }
  /// "(2, 3, 4)", "(7,)" or "()".
  std::optional<std::vector<int64_t>> Shape() {
    std::vector<int64_t> shape;
    if (!Take('(')) return std::nullopt;
    while (!Take(')')) {
      SkipSpaces();
      int64_t size = 0;
      const auto [end, error] =
          std::from_chars(text_.data() + at_, text_.data() + text_.size(), size);
      if (error != std::errc() || size < 0) return std::nullopt;
      at_ = static_cast<size_t>(end - text_.data());
      shape.push_back(size);
      if (Take(',')) continue;
      if (!Take(')')) return std::nullopt;
      break;
    }
    return shape;
  }
  [[nodiscard]] size_t position() const { return at_; }
  bool AtEnd() {
    SkipSpaces();
    return at_ == text_.size();
  }

 private:
  void SkipSpaces() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n')) ++at_;
  }
  std::string_view text_;
  size_t at_ = 0;
};

struct Fields {
  std::optional<std::string> descr;
  std::optional<bool> fortran_order;
  std::optional<std::vector<int64_t>> shape;
};

/// False where the dict is not what NumPy writes; `dict` then stands at the place.
bool ReadFields(DictText& dict, Fields& fields) {
  if (!dict.Take('{')) return false;
  while (!dict.Take('}')) {
    const auto key = dict.Quoted();
    if (!key || !dict.Take(':')) return false;
    if (*key == "descr" && !fields.descr) {
      const auto descr = dict.Quoted();
      if (!descr) return false;
      fields.descr = std::string(*descr);
    } else if (*key == "fortran_order" && !fields.fortran_order) {
      if (!(fields.fortran_order = dict.Boolean())) return false;
    } else if (*key == "shape" && !fields.shape) {
      if (!(fields.shape = dict.Shape())) return false;
    } else {
      return false;
    }
    dict.Take(',');
  }
  return dict.AtEnd() && fields.descr && fields.fortran_order && fields.shape;
}

std::string AllowedDescrs() {
  std::string text;
  for (const Descr& descr : kDescrs) text += (text.empty() ? "" : " ") + std::string(descr.text);
  return text;
}

Result<ArrayRef> ToArray(const ByteFile& file, uint64_t at, const Fields& fields) {
  const auto* descr = std::ranges::find(kDescrs, std::string_view(*fields.descr), &Descr::text);
  if (descr == kDescrs.end()) {
    return file.At(at, "the array's element type is '" + *fields.descr +
                           "', read are the little-endian " + AllowedDescrs());
  }
  if (*fields.fortran_order) {
    return file.At(at, "the array is in Fortran order; save it with numpy.ascontiguousarray");
  }
  return ArrayRef{.type = descr->type, .shape = *fields.shape, .offset = 0};
}

uint64_t LittleEndian(std::string_view bytes) {
  uint64_t value = 0;
  for (size_t i = bytes.size(); i-- > 0;) value = value << 8 | static_cast<uint8_t>(bytes[i]);
  return value;
}

/// The header's dict and where it begins.
struct HeaderText {
  std::string text;
  uint64_t offset = 0;
};

Result<HeaderText> ReadHeaderText(const ByteFile& file, uint64_t begin, uint64_t end) {
  if (end - begin < kFixedBytes + 4) return file.At(begin, "truncated: no room for a .npy header");
  SIM_TRY(const std::string fixed, file.Read(begin, kFixedBytes + 4));
  if (!fixed.starts_with(kMagic)) return file.At(begin, "is not a .npy: no \\x93NUMPY here");
  const auto version = static_cast<uint8_t>(fixed[kMagic.size()]);
  if (version < 1 || version > 3) {
    return file.At(begin, "has .npy version " + std::to_string(version) + ", read are 1 to 3");
  }
  const size_t length_bytes = version == 1 ? 2 : 4;
  const uint64_t length = LittleEndian(std::string_view(fixed).substr(kFixedBytes, length_bytes));
  const uint64_t offset = begin + kFixedBytes + length_bytes;
  if (length > kMaxNpyHeaderBytes || length > end - offset) {
    return file.At(begin + kFixedBytes, "the .npy header says it has " + std::to_string(length) +
                                            " bytes; there are " + std::to_string(end - offset) +
                                            ", and at most " + std::to_string(kMaxNpyHeaderBytes) +
                                            " are allowed");
  }
  SIM_TRY(std::string text, file.Read(offset, length));
  return HeaderText{std::move(text), offset};
}

}  // namespace

Result<ArrayRef> ReadNpyHeader(const ByteFile& file, uint64_t begin, uint64_t end) {
  SIM_CHECK(begin <= end);
  SIM_TRY(const HeaderText header, ReadHeaderText(file, begin, end));
  DictText dict(header.text);
  Fields fields;
  if (!ReadFields(dict, fields)) {
    return file.At(header.offset + dict.position(),
                   "the .npy header is not {'descr': .., 'fortran_order': .., 'shape': (..)}");
  }
  SIM_TRY(ArrayRef array, ToArray(file, header.offset, fields));
  array.offset = header.offset + header.text.size();
  const auto count = ElementCount(array.shape);
  const uint64_t room = end - array.offset;
  const size_t bytes = ElementBytes(array.type);
  if (!count || static_cast<uint64_t>(*count) != room / bytes || room % bytes != 0) {
    return file.At(array.offset, "the array is " + ShapeText(array.shape) + " of " +
                                     std::string(Name(array.type)) + ", but " +
                                     std::to_string(room) + " bytes follow");
  }
  return array;
}

}  // namespace moecast
