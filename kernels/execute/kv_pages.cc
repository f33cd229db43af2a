#include "kernels/execute/kv_pages.h"

#include <algorithm>

#include "kernels/ops/kv/kv_scheme.h"
#include "sim/base/check.h"

namespace moecast::kernels {
namespace {

/// Pages [0, count), the lowest on top.
std::vector<int32_t> AllPages(int32_t count) {
  std::vector<int32_t> pages(static_cast<size_t>(count));
  for (size_t i = 0; i < pages.size(); ++i) pages[i] = count - 1 - static_cast<int32_t>(i);
  return pages;
}

}  // namespace

KvPages::KvPages(const PageCapacity& capacity)
    : capacity_(capacity),
      free_(AllPages(capacity.pages)),
      free_window_(AllPages(capacity.window_pages)) {}

bool KvPages::Prepare(std::span<const SequenceWork> sequences) {
  ReleaseAbsent(sequences);
  longest_ = 0;
  for (const SequenceWork& work : sequences) {
    Held& held = held_[work.slot];
    const int64_t tokens = work.past + work.tokens;
    const auto pages = static_cast<size_t>((tokens + kPageTokens - 1) / kPageTokens);
    if (!Take(pages, free_, held.pages)) return false;
    if (!Take(static_cast<size_t>(capacity_.window_per_sequence), free_window_, held.window)) {
      return false;
    }
    longest_ = std::max(longest_, static_cast<int32_t>(held.pages.size()));
  }
  return true;
}

void KvPages::ReleaseAbsent(std::span<const SequenceWork> sequences) {
  for (auto& [slot, held] : held_) held.present = false;
  for (const SequenceWork& work : sequences) {
    const auto it = held_.find(work.slot);
    if (it != held_.end()) it->second.present = work.past > 0;
  }
  for (auto it = held_.begin(); it != held_.end();) {
    if (it->second.present) {
      ++it;
      continue;
    }
    Release(it->second);
    it = held_.erase(it);
  }
}

void KvPages::Release(Held& held) {
  free_.insert(free_.end(), held.pages.rbegin(), held.pages.rend());
  free_window_.insert(free_window_.end(), held.window.rbegin(), held.window.rend());
}

bool KvPages::Take(size_t wanted, std::vector<int32_t>& from, std::vector<int32_t>& to) {
  while (to.size() < wanted) {
    if (from.empty()) return false;
    to.push_back(from.back());
    from.pop_back();
  }
  return true;
}

void KvPages::FillTable(std::span<const SequenceWork> sequences, int32_t row_pages,
                        std::span<int32_t> table) const {
  SIM_CHECK(row_pages >= longest_);
  std::ranges::fill(table, 0);
  for (size_t i = 0; i < sequences.size(); ++i) {
    std::ranges::copy(held_.at(sequences[i].slot).pages,
                      table.begin() + static_cast<std::ptrdiff_t>(i) * row_pages);
  }
}

void KvPages::FillWindowTable(std::span<const SequenceWork> sequences,
                              std::span<int32_t> table) const {
  std::ranges::fill(table, 0);
  for (size_t i = 0; i < sequences.size(); ++i) {
    std::ranges::copy(
        held_.at(sequences[i].slot).window,
        table.begin() + static_cast<std::ptrdiff_t>(i) * capacity_.window_per_sequence);
  }
}

}  // namespace moecast::kernels
