#include "sim/engine/decode_set.h"

#include <algorithm>
#include <utility>

#include "sim/base/check.h"

namespace moecast {
namespace {

/// `value` modulo `divisor`, never negative.
size_t Modulo(int64_t value, int64_t divisor) {
  const int64_t rest = value % divisor;
  return static_cast<size_t>(rest < 0 ? rest + divisor : rest);
}

}  // namespace

DecodeSet::DecodeSet(Config config) : config_(std::move(config)) {
  for (const KvUse::Store& store : config_.kv.stores) {
    due_.emplace_back(static_cast<size_t>(store.block_tokens));
  }
}

size_t DecodeSet::BlockPhase(uint8_t kv_store, int64_t offset) const {
  const KvUse::Store& store = config_.kv.stores[kv_store];
  return Modulo(offset + store.extra_tokens, store.block_tokens);
}

size_t DecodeSet::DuePhase(size_t kv_store) const {
  return Modulo(-tick_, config_.kv.stores[kv_store].block_tokens);
}

void DecodeSet::Join(const Member& member) {
  SIM_CHECK(member.tokens_left >= 1 && member.cached_tokens >= 0);
  const int64_t offset = member.cached_tokens - tick_;
  const int64_t finish = tick_ + member.tokens_left;
  next_finish_ = slots_.empty() ? finish : std::min(next_finish_, finish);
  longest_offset_ = slots_.empty() ? offset : std::max(longest_offset_, offset);
  slots_.push_back(member.slot);
  offset_.push_back(offset);
  finish_tick_.push_back(finish);
  row_offset_.push_back(member.decode_row - tick_);
  routing_.push_back(member.routing);
  kv_store_.push_back(member.kv_store);
  offset_sum_ += offset;
  ++due_[member.kv_store][BlockPhase(member.kv_store, offset)];
}

DecodeSet::Member DecodeSet::at(int64_t index) const {
  const auto i = static_cast<size_t>(index);
  return {.slot = slots_[i],
          .cached_tokens = tick_ + offset_[i],
          .tokens_left = finish_tick_[i] - tick_,
          .decode_row = tick_ + row_offset_[i],
          .routing = routing_[i],
          .kv_store = kv_store_[i]};
}

void DecodeSet::MoveTo(int64_t index, uint8_t kv_store) {
  const auto i = static_cast<size_t>(index);
  --due_[kv_store_[i]][BlockPhase(kv_store_[i], offset_[i])];
  kv_store_[i] = kv_store;
  ++due_[kv_store][BlockPhase(kv_store, offset_[i])];
}

DecodeSet::Member DecodeSet::PopNewest() {
  SIM_CHECK(!slots_.empty());
  const Member newest = at(size() - 1);
  offset_sum_ -= offset_.back();
  --due_[newest.kv_store][BlockPhase(newest.kv_store, offset_.back())];
  slots_.pop_back();
  offset_.pop_back();
  finish_tick_.pop_back();
  row_offset_.pop_back();
  routing_.pop_back();
  kv_store_.pop_back();
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
      --due_[kv_store_[i]][BlockPhase(kv_store_[i], offset_[i])];
      continue;
    }
    slots_[kept] = slots_[i];
    offset_[kept] = offset_[i];
    finish_tick_[kept] = finish_tick_[i];
    row_offset_[kept] = row_offset_[i];
    routing_[kept] = routing_[i];
    kv_store_[kept] = kv_store_[i];
    ++kept;
  }
  slots_.resize(kept);
  offset_.resize(kept);
  finish_tick_.resize(kept);
  row_offset_.resize(kept);
  routing_.resize(kept);
  kv_store_.resize(kept);
  RefreshExtremes();
}

void DecodeSet::RefreshExtremes() {
  if (slots_.empty()) return;
  next_finish_ = *std::min_element(finish_tick_.begin(), finish_tick_.end());
  longest_offset_ = *std::max_element(offset_.begin(), offset_.end());
}

int64_t DecodeSet::BlocksDue() const {
  int64_t due = 0;
  for (size_t store = 0; store < due_.size(); ++store) due += due_[store][DuePhase(store)];
  if (config_.kv.keep_tokens == 0) return due;
  for (size_t i = 0; i < slots_.size(); ++i) {  // who holds all it may needs nothing more
    const bool full = tick_ + offset_[i] >= config_.kv.keep_tokens;
    if (full && BlockPhase(kv_store_[i], offset_[i]) == DuePhase(kv_store_[i])) --due;
  }
  return due;
}

int64_t DecodeSet::ContextUpTo(int64_t most) const {
  const int64_t limit = most - tick_ - 1;
  int64_t sum = 0;
  for (const int64_t offset : offset_) sum += std::min(offset, limit);
  return sum + size() * (tick_ + 1);
}

int64_t DecodeSet::Context() const {
  if (config_.kv.keep_tokens > 0) return ContextUpTo(config_.kv.keep_tokens);
  return size() * (tick_ + 1) + offset_sum_;
}

int64_t DecodeSet::WindowContext() const {
  return ContextUpTo(config_.kv.Kept(config_.sliding_window));
}

void DecodeSet::AddLoad(AttentionLoad& load) const {
  load.decode_sequences += size();
  load.decode_context += Context();
  load.decode_longest = std::max(load.decode_longest, Longest());
  if (config_.sliding_window > 0) load.decode_context_window += WindowContext();
  if (!config_.kv.plain) AddKvLoad(load);
}

void DecodeSet::AddKvLoad(AttentionLoad& load) const {
  const KvUse& kv = config_.kv;
  for (size_t i = 0; i < slots_.size(); ++i) {
    const int64_t tokens = tick_ + 1 + offset_[i];
    const int64_t kept = kv.Kept(tokens);
    const int64_t window =
        config_.sliding_window > 0 ? std::min(kept, config_.sliding_window) : kept;
    const bool all = kv.budget_tokens == 0 || (kv.recalibrate > 0 && tokens % kv.recalibrate == 0);
    load.decode_attended += all ? kept : std::min(kept, kv.budget_tokens);
    KvSplit& split = load.kv[kv_store_[i]];
    ++split.decode_sequences;
    split.decode_context += kept;
    split.decode_context_window += window;
    const std::vector<KvBoundary>& boundaries = kv.stores[kv_store_[i]].boundaries;
    for (size_t b = 0; b < boundaries.size(); ++b) {
      const int64_t older = boundaries[b].Older(kept);
      split.decode_older[b] += older;
      split.decode_older_window[b] += std::max<int64_t>(0, window - (kept - older));
      split.moved[b] += boundaries[b].Older(tokens) - boundaries[b].Older(tokens - 1);
    }
  }
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
