#include "traces/import/id_decoder.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "sim/base/check.h"
#include "traces/routing_rows.h"

namespace moecast {
namespace {

template <class T>
T LoadAs(const char* from, int64_t index) {
  T value{};
  std::memcpy(&value, from + index * static_cast<int64_t>(sizeof(T)), sizeof(T));
  return value;
}

/// True for -1 and 0 .. limit-1. -1 becomes kUnknownExpert by the conversion to 16 bits.
template <class T>
bool IsId(T value, int64_t limit) {
  if constexpr (std::numeric_limits<T>::is_signed) {
    return value >= -1 && static_cast<int64_t>(value) < limit;
  } else {
    return static_cast<uint64_t>(value) < static_cast<uint64_t>(limit);
  }
}

/// Converts a run of ids; false when one of them is out of range. Written to be vectorised.
template <class T>
bool ConvertRun(const char* from, int64_t count, int64_t limit, uint16_t* to) {
  unsigned bad = 0;
  for (int64_t i = 0; i < count; ++i) {
    const T value = LoadAs<T>(from, i);
    to[i] = static_cast<uint16_t>(value);
    bad |= static_cast<unsigned>(!IsId(value, limit));
  }
  return bad == 0;
}

bool IsAdjacent(const std::vector<int64_t>& rows) {
  for (size_t i = 1; i < rows.size(); ++i) {
    if (rows[i] != rows[i - 1] + 1) return false;
  }
  return true;
}

}  // namespace

IdDecoder::IdDecoder(const RoutingHeader& header, LayerSelection selection, const IdShape& shape)
    : experts_(header.experts),
      top_k_(header.top_k),
      selection_(std::move(selection)),
      shape_(shape),
      adjacent_(shape.columns == header.top_k && IsAdjacent(selection_.rows)) {}

Result<IdDecoder> IdDecoder::Make(const RoutingHeader& header, const LayerSelection& selection,
                                  const IdShape& shape, const ExpertPlacement* placement,
                                  const std::string& where) {
  if (shape.columns < header.top_k) {
    return Error{"the capture keeps " + std::to_string(shape.columns) +
                     " ids a row, the model chooses " + std::to_string(header.top_k) +
                     ": its rows are cut off",
                 where};
  }
  IdDecoder decoder(header, selection, shape);
  if (placement == nullptr) return decoder;
  SIM_TRY(
      decoder.to_logical_,
      MapSlots(*placement, selection, {.layers = shape.layers, .experts = header.experts}, where));
  decoder.slots_ = std::ssize(decoder.to_logical_[0]);
  return decoder;
}

std::string IdDecoder::OutOfRange(int64_t value) const {
  const bool physical = slots_ > 0;
  return (physical ? "slot " : "expert ") + std::to_string(value) + " is out of range, " +
         (physical ? "the placement has " : "ids are below ") +
         std::to_string(physical ? slots_ : experts_) + (physical ? " slots" : "");
}

template <class T>
std::optional<IdFault> IdDecoder::DecodeRow(const char* from, int64_t moe_layer,
                                            uint16_t* ids) const {
  const int64_t layer = selection_.rows[static_cast<size_t>(moe_layer)];
  const int64_t limit = slots_ > 0 ? slots_ : experts_;
  if (!ConvertRun<T>(from, top_k_, limit, ids)) {
    int64_t column = 0;
    while (IsId(LoadAs<T>(from, column), limit)) ++column;
    return IdFault{0, layer, column, OutOfRange(static_cast<int64_t>(LoadAs<T>(from, column)))};
  }
  for (int64_t column = top_k_; column < shape_.columns; ++column) {
    if (LoadAs<T>(from, column) == static_cast<T>(-1)) continue;
    return IdFault{0, layer, column,
                   "the row has more than the model's " + std::to_string(top_k_) + " ids"};
  }
  if (slots_ == 0) return std::nullopt;
  const std::vector<int32_t>& map = to_logical_[static_cast<size_t>(moe_layer)];
  for (int64_t i = 0; i < top_k_; ++i) {
    if (ids[i] != kUnknownExpert) ids[i] = static_cast<uint16_t>(map[ids[i]]);
  }
  return std::nullopt;
}

template <class T>
std::optional<IdFault> IdDecoder::DecodeAs(const char* from, int64_t tokens, uint16_t* ids) const {
  const auto moe_layers = std::ssize(selection_.rows);
  const auto row_bytes = shape_.columns * static_cast<int64_t>(sizeof(T));
  for (int64_t token = 0; token < tokens; ++token) {
    const char* const rows = from + token * shape_.layers * row_bytes;
    uint16_t* const to = ids + token * moe_layers * top_k_;
    const char* const first = rows + selection_.rows[0] * row_bytes;
    if (adjacent_ && slots_ == 0 && ConvertRun<T>(first, moe_layers * top_k_, experts_, to)) {
      continue;
    }
    for (int64_t i = 0; i < moe_layers; ++i) {
      auto fault = DecodeRow<T>(rows + selection_.rows[static_cast<size_t>(i)] * row_bytes, i,
                                to + i * top_k_);
      if (!fault) continue;
      fault->token = token;
      return fault;
    }
  }
  return std::nullopt;
}

std::optional<IdFault> IdDecoder::Decode(std::span<const char> bytes, ElementType type,
                                         int64_t tokens, std::vector<uint16_t>& ids) const {
  const int64_t elements = tokens * shape_.layers * shape_.columns;
  SIM_CHECK(std::ssize(bytes) == elements * static_cast<int64_t>(ElementBytes(type)));
  ids.resize(static_cast<size_t>(tokens * std::ssize(selection_.rows) * top_k_));
  std::optional<IdFault> fault;
  const bool is_integer = VisitInteger(
      type, [&](auto zero) { fault = DecodeAs<decltype(zero)>(bytes.data(), tokens, ids.data()); });
  SIM_CHECK(is_integer);
  return fault ? fault : CheckRows(ids);
}

std::optional<IdFault> IdDecoder::DecodeLayer(std::span<const char> bytes, ElementType type,
                                              int64_t moe_layer, std::span<uint16_t> ids) const {
  const int64_t token_ids = std::ssize(selection_.rows) * top_k_;
  const int64_t tokens = std::ssize(ids) / token_ids;
  const auto row_bytes = shape_.columns * static_cast<int64_t>(ElementBytes(type));
  SIM_CHECK(std::ssize(bytes) == tokens * row_bytes);
  std::optional<IdFault> fault;
  const bool is_integer = VisitInteger(type, [&](auto zero) {
    for (int64_t token = 0; token < tokens && !fault; ++token) {
      fault = DecodeRow<decltype(zero)>(bytes.data() + token * row_bytes, moe_layer,
                                        ids.data() + token * token_ids + moe_layer * top_k_);
      if (fault) fault->token = token;
    }
  });
  SIM_CHECK(is_integer);
  return fault;
}

std::optional<IdFault> IdDecoder::CheckRows(std::span<const uint16_t> ids) const {
  const auto problem =
      FindProblem(ids, static_cast<int32_t>(experts_), static_cast<int32_t>(top_k_));
  if (!problem) return std::nullopt;
  const auto row = static_cast<int64_t>(problem->row);
  const auto moe_layers = std::ssize(selection_.rows);
  IdFault fault{row / moe_layers, selection_.rows[static_cast<size_t>(row % moe_layers)], 0,
                Describe(*problem, static_cast<int32_t>(experts_))};
  const auto first = ids.begin() + row * top_k_;
  // The later of two equal ids is the wrong one.
  for (int64_t column = 0; column < top_k_; ++column) {
    if (first[column] == problem->id) fault.column = column;
  }
  return fault;
}

}  // namespace moecast
