#include "sim/validate/expert_ids.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "sim/base/check.h"
#include "sim/model/step_executor.h"
#include "sim/replay/span_rows.h"

namespace moecast {
namespace {

constexpr int64_t kBitsPerWord = 64;

/// Bits [first, first + count) of a row, the first in bit 0. REQUIRES: they lie in one word.
uint64_t BitsOf(const Line* row, int64_t first, int64_t count) {
  const Line& line = row[first / kBitsPerLine];
  const int64_t in_line = first % kBitsPerLine;
  const uint64_t word = line.words[in_line / kBitsPerWord] >> (in_line % kBitsPerWord);
  return count == kBitsPerWord ? word : word & ((uint64_t{1} << count) - 1);
}

}  // namespace

ExpertIds::ExpertIds(std::shared_ptr<const ReplayTable> table, int64_t top_k)
    : table_(std::move(table)), top_k_(static_cast<size_t>(top_k)) {}

std::span<const uint16_t> ExpertIds::Of(std::span<const RoutedSpan> spans) {
  if (table_ == nullptr) return {};
  rows_.clear();
  for (const RoutedSpan& span : spans) AppendRows(*table_, span, rows_);
  const auto layers = static_cast<size_t>(table_->layout().moe_layers);
  const size_t per_layer = rows_.size() * top_k_;
  ids_.assign(layers * per_layer, kNoExpert);
  for (size_t layer = 0; layer < layers; ++layer) {
    FillLayer(static_cast<int64_t>(layer), std::span(ids_).subspan(layer * per_layer, per_layer));
  }
  return ids_;
}

void ExpertIds::FillLayer(int64_t layer, std::span<uint16_t> ids) const {
  const int64_t begin = layer * table_->layout().stride();
  const int64_t end = begin + table_->layout().experts;
  for (size_t token = 0; token < rows_.size(); ++token) {
    size_t slot = token * top_k_;
    for (int64_t bit = begin; bit < end;) {
      const int64_t count = std::min(kBitsPerWord - bit % kBitsPerWord, end - bit);
      for (uint64_t left = BitsOf(rows_[token], bit, count); left != 0; left &= left - 1) {
        SIM_CHECK(slot < (token + 1) * top_k_);
        ids[slot++] = static_cast<uint16_t>(bit - begin + std::countr_zero(left));
      }
      bit += count;
    }
  }
}

}  // namespace moecast
