#include "traces/import/request_threads.h"

namespace moecast {
namespace {

constexpr int64_t kMaxPosition = int64_t{1} << 24;  // longer than any context

}  // namespace

std::string RequestThreads::AddPass(std::span<const int64_t> positions,
                                    std::span<const int64_t> prefill_lengths, int64_t first_row) {
  ++pass_;
  for (const int64_t position : positions) {
    if (position < 0 || position > kMaxPosition) {
      return "position " + std::to_string(position) + " is no token's";
    }
  }
  size_t token = 0;
  for (const int64_t length : prefill_lengths) {
    if (length < 0 || static_cast<uint64_t>(length) > positions.size() - token) {
      return "extend_seq_lens ask for more than the pass's " + std::to_string(positions.size()) +
             " tokens";
    }
    if (length == 0) continue;
    const int64_t first = positions[token];
    for (int64_t i = 0; i < length; ++i) {
      if (positions[token + static_cast<size_t>(i)] == first + i) continue;
      return "the positions of a prefill segment are not consecutive at its token " +
             std::to_string(i);
    }
    const auto thread = first == 0 ? std::nullopt : TakeEnd(first, true);
    Extend(thread,
           {RoutingPhase::kPrefill, first, first_row + static_cast<int64_t>(token), length});
    token += static_cast<size_t>(length);
  }
  for (; token < positions.size(); ++token) {
    const auto thread = TakeEnd(positions[token], false);
    if (!thread) ++orphan_threads_;
    Extend(thread,
           {RoutingPhase::kDecode, positions[token], first_row + static_cast<int64_t>(token), 1});
  }
  return {};
}

std::optional<size_t> RequestThreads::TakeEnd(int64_t position, bool is_prefill) {
  const auto found = ends_.find(position);
  if (found == ends_.end()) return std::nullopt;
  std::vector<End>& ends = found->second;
  // A request has one segment or token per pass; a decoding one prefills no more.
  const auto fits = [&](const End& end) {
    const bool decodes = threads_[end.thread].back().phase == RoutingPhase::kDecode;
    return end.pass < pass_ && !(is_prefill && decodes);
  };
  size_t last = ends.size();
  while (last > 0 && !fits(ends[last - 1])) --last;
  if (last == 0) return std::nullopt;
  size_t first = last - 1;
  while (first > 0 && ends[first - 1].pass == ends[last - 1].pass && fits(ends[first - 1])) --first;
  if (first + 1 < last) ++ambiguous_tokens_;
  const size_t thread = ends[first].thread;
  ends.erase(ends.begin() + static_cast<std::ptrdiff_t>(first));
  return thread;
}

void RequestThreads::Extend(std::optional<size_t> thread, const ThreadPiece& piece) {
  if (!thread) {
    thread = threads_.size();
    threads_.emplace_back();
  }
  threads_[*thread].push_back(piece);
  ends_[piece.first_position + piece.rows].push_back({*thread, pass_});
}

}  // namespace moecast
