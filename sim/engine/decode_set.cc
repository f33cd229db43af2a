#include "sim/engine/decode_set.h"

#include <algorithm>

#include "sim/base/check.h"

namespace moecast {

DecodeSet::DecodeSet(Config config)
    : config_(config), due_(static_cast<size_t>(config.block_tokens)) {}

size_t DecodeSet::BlockPhase(int64_t offset) const {
  const int64_t phase = offset % config_.block_tokens;
  return static_cast<size_t>(phase < 0 ? phase + config_.block_tokens : phase);
}

void DecodeSet::Join(const Member& member) {
  SIM_CHECK(member.tokens_left >= 1 && member.cached_tokens >= 1);
  const int64_t offset = member.cached_tokens - tick_;
  const int64_t finish = tick_ + member.tokens_left;
  next_finish_ = slots_.empty() ? finish : std::min(next_finish_, finish);
  longest_offset_ = slots_.empty() ? offset : std::max(longest_offset_, offset);
  slots_.push_back(member.slot);
  offset_.push_back(offset);
  finish_tick_.push_back(finish);
  row_offset_.push_back(member.decode_row - tick_);
  routing_.push_back(member.routing);
  offset_sum_ += offset;
  ++due_[BlockPhase(offset)];
}

DecodeSet::Member DecodeSet::at(int64_t index) const {
  const auto i = static_cast<size_t>(index);
  return {.slot = slots_[i],
          .cached_tokens = tick_ + offset_[i],
          .tokens_left = finish_tick_[i] - tick_,
          .decode_row = tick_ + row_offset_[i],
          .routing = routing_[i]};
}

DecodeSet::Member DecodeSet::PopNewest() {
  SIM_CHECK(!slots_.empty());
  const Member newest = at(size() - 1);
  offset_sum_ -= offset_.back();
  --due_[BlockPhase(offset_.back())];
  slots_.pop_back();
  offset_.pop_back();
  finish_tick_.pop_back();
  row_offset_.pop_back();
  routing_.pop_back();
  RefreshExtremes();
  return newest;
}

void DecodeSet::Advance(std::vector<Member>& finished) {
  ++tick_;
  if (slots_.empty() || next_finish_ > tick_) return;
  size_t kept = 0;
  for (size_t i = 0; i < slots_.size(); ++i) {
    if (finish_tick_[i] == tick_) {
      finished.push_back(at(static_cast<int64_t>(i)));
      offset_sum_ -= offset_[i];
      --due_[BlockPhase(offset_[i])];
      continue;
    }
    slots_[kept] = slots_[i];
    offset_[kept] = offset_[i];
    finish_tick_[kept] = finish_tick_[i];
    row_offset_[kept] = row_offset_[i];
    routing_[kept] = routing_[i];
    ++kept;
  }
  slots_.resize(kept);
  offset_.resize(kept);
  finish_tick_.resize(kept);
  row_offset_.resize(kept);
  routing_.resize(kept);
  RefreshExtremes();
}

void DecodeSet::RefreshExtremes() {
  if (slots_.empty()) return;
  next_finish_ = *std::min_element(finish_tick_.begin(), finish_tick_.end());
  longest_offset_ = *std::max_element(offset_.begin(), offset_.end());
}

int64_t DecodeSet::BlocksDue() const { return due_[BlockPhase(-tick_)]; }

int64_t DecodeSet::WindowContext() const {
  const int64_t limit = config_.sliding_window - tick_ - 1;
  int64_t sum = 0;
  for (const int64_t offset : offset_) sum += std::min(offset, limit);
  return sum + size() * (tick_ + 1);
}

void DecodeSet::AppendSpans(std::vector<RoutedSpan>& spans) const {
  const size_t first = spans.size();
  spans.resize(first + slots_.size());
  RoutedSpan* out = spans.data() + first;
  for (size_t i = 0; i < slots_.size(); ++i) {
    out[i] = {.sequence = routing_[i],
              .phase = RoutingPhase::kDecode,
              .first_row = tick_ + row_offset_[i],
              .rows = 1};
  }
}

}  // namespace moecast
