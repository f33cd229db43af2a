// How decode attention is cut into equal shares, computed alike on the host and on the device.
//
// The work is a row of units, ordered by sequence, KV head and token. A unit is what a warp reads
// at once: a page of 64 tokens where keys or values are quantised, a slab of 16 tokens where both
// are bf16. Blocks, and within a block its warps, take ranges of that row whose sizes differ by at
// most one; so time follows the number of units, whatever the lengths are. A unit that sees only
// part of its tokens costs a whole one.
//
// INV-1: every visible token of every sequence and KV head is in exactly one unit's mask.
// INV-2: shares are contiguous, cover the row, and differ in size by at most one unit.
//
// Units are counted in 32 bits.
#pragma once

#include <cstdint>

#include "kernels/ops/attend/attend_shape.h"

namespace moecast::kernels {

inline constexpr int kSlabTokens = 16;

constexpr int32_t Least(int32_t a, int32_t b) { return a < b ? a : b; }
constexpr int32_t Most(int32_t a, int32_t b) { return a > b ? a : b; }

/// Tokens first .. end - 1.
struct TokenRange {
  int32_t first = 0;
  int32_t end = 0;
};

/// The tokens a sliding window hides from the middle of a sequence; empty when it hides none.
constexpr TokenRange HiddenTokens(const VisibleTokens& visible, int32_t length) {
  if (visible.window == 0) return {};
  const int32_t first = Least(visible.sink, length);
  return {.first = first, .end = Most(length - visible.window, first)};
}

/// The units of a range of tokens, 2^log_step tokens each: `front` of them, then `hidden` ones that
/// hold no visible token and are not counted, then `back`.
struct UnitRun {
  int32_t first_token = 0;
  int32_t log_step = 0;
  int32_t front = 0;
  int32_t hidden = 0;
  int32_t back = 0;

  [[nodiscard]] constexpr int32_t size() const { return front + back; }
  /// First token of the run's unit number `k`.
  [[nodiscard]] constexpr int32_t TokenOf(int32_t k) const {
    return first_token + ((k < front ? k : k + hidden) << log_step);
  }
};

constexpr UnitRun RunOf(const TokenRange& tokens, int32_t log_step, const TokenRange& hidden) {
  UnitRun run{.first_token = tokens.first, .log_step = log_step};
  const int32_t length = tokens.end - tokens.first;
  if (length <= 0) return run;
  const int32_t round_up = (1 << log_step) - 1;
  const int32_t total = (length + round_up) >> log_step;
  const int32_t in_front = Most(Least(hidden.first, tokens.end) - tokens.first, 0);
  run.front = (in_front + round_up) >> log_step;
  // Not Most(Least(end, length), 0) == length, which ptxas of CUDA 13.0 makes one VIMNMX.RELU whose
  // predicate also holds for an end of 0: it hid every unit of a run that starts at token 0.
  const int32_t first_back =
      hidden.end >= tokens.end ? total : Most(hidden.end - tokens.first, 0) >> log_step;
  run.hidden = Most(first_back - run.front, 0);
  run.back = total - run.front - run.hidden;
  return run;
}

/// One sequence's units: bf16 sinks of the scheme, the cache's pages, bf16 tail.
struct SequenceUnits {
  UnitRun sinks;
  UnitRun pages;
  UnitRun tail;

  [[nodiscard]] constexpr int32_t size() const { return sinks.size() + pages.size() + tail.size(); }
};

inline constexpr int kLogSlab = 4;
inline constexpr int kLogPage = 6;
static_assert(1 << kLogSlab == kSlabTokens && 1 << kLogPage == kPageTokens);

/// Of the tokens of a unit of the cache's pages.
constexpr int32_t LogPageStep(const KvScheme& scheme) {
  const bool bf16 =
      scheme.keys.element == KvElement::kBf16 && scheme.values.element == KvElement::kBf16;
  return bf16 ? kLogSlab : kLogPage;
}

/// The first token behind those in the cache's pages; Least(window.sink, length) where there is
/// none.
constexpr int32_t EndOfPages(const KvWindow& window, int32_t length) {
  if (window.flush == 0) return length;
  const int32_t leaving = Most(length - window.sink - window.recent, 0);
  return Least(window.sink, length) + leaving / window.flush * window.flush;
}

/// `selected` pages are listed by a PageSelection; -1: there is none.
constexpr SequenceUnits UnitsOf(const KvScheme& scheme, const VisibleTokens& visible,
                                int32_t length, int32_t end_of_pages, int32_t selected) {
  const TokenRange hidden = HiddenTokens(visible, length);
  const int32_t log_step = LogPageStep(scheme);
  const int32_t sinks = Least(scheme.window.sink, length);
  SequenceUnits units{.sinks = RunOf({0, sinks}, kLogSlab, hidden),
                      .pages = RunOf({sinks, end_of_pages}, log_step, hidden),
                      .tail = RunOf({end_of_pages, length}, kLogSlab, hidden)};
  if (selected >= 0 && length > 0)
    units.pages = {
        .first_token = sinks, .log_step = log_step, .back = selected << (kLogPage - log_step)};
  return units;
}

/// A worker's share of `units` starts at floor(units * worker / workers) and ends at the next
/// one's, so that equal segments whose number divides that of workers, or the other way round, are
/// never cut. REQUIRES: worker <= workers <= 2^15.
constexpr int32_t ShareStart(int32_t units, int workers, int worker) {
  const auto u = static_cast<uint32_t>(units);
  const auto w = static_cast<uint32_t>(workers);
  return static_cast<int32_t>(u / w * static_cast<uint32_t>(worker) +
                              u % w * static_cast<uint32_t>(worker) / w);
}
/// The worker whose share holds `unit`. REQUIRES: 0 <= unit < units, units * workers < 2^32.
constexpr int OwnerOf(int32_t units, int workers, int32_t unit) {
  const uint32_t scaled = (static_cast<uint32_t>(unit) + 1) * static_cast<uint32_t>(workers) - 1;
  return static_cast<int>(scaled / static_cast<uint32_t>(units));
}

/// Blocks that take part: each of their workers has a unit, as far as units go.
constexpr int BlocksFor(int32_t units, int most_blocks, int workers) {
  return units >= most_blocks * workers ? most_blocks : (units + workers - 1) / workers;
}

/// How segments, the units of a sequence and head each, go into the blocks of a launch; known
/// before lengths are.
struct SegmentBlocks {
  int32_t segments = 0;
  int32_t most = 0;  // blocks of the launch
  /// Of them, as many as segments of equal length fill alike: each with a part of one, or with a
  /// whole number of them; 0 where whole ones would leave too many blocks idle.
  int32_t even = 0;
};

/// REQUIRES: segments > 0.
constexpr SegmentBlocks BlocksOfSegments(int32_t segments, int32_t most) {
  if (segments <= most) return {segments, most, most - most % segments};
  const int32_t each = (segments + most - 1) / most;
  const int32_t whole = (segments + each - 1) / each;
  return {segments, most, 16 * whole < 15 * most ? 0 : whole};
}

/// Blocks that take part where results of a segment that blocks share are dear: few units are cut
/// only where segments of equal length end, or into equal parts of them, if that leaves few blocks
/// idle; not at all where a block's workers take one unit each. Many units are cut everywhere,
/// unless each block has one of the segments, all as long, and next to none is idle: that saves a
/// merge, which the idle blocks of a long launch cost more than.
/// RETURNS: at most `units`.
constexpr int BlocksFor(int32_t units, const SegmentBlocks& blocks, int workers) {
  constexpr int32_t kFewRounds = 6;  // of a unit for every worker
  constexpr int32_t kManyRounds = 32;
  const int enough = BlocksFor(units, blocks.most, workers);
  if (units > kFewRounds * blocks.most * workers) {
    const bool one_each = units <= kManyRounds * blocks.most * workers &&
                          blocks.even == blocks.segments && 32 * blocks.even >= 31 * blocks.most &&
                          units % blocks.segments == 0;
    return one_each ? blocks.even : enough;
  }
  const int32_t round = blocks.segments * workers;
  const int32_t cuts = units <= round ? 1 : (units + round - 1) / round;
  const int32_t whole = Least(cuts * blocks.segments, blocks.even);
  return 8 * whole < 7 * enough ? enough : Least(whole, units);
}

/// A unit's place in the row of all units.
struct UnitPlace {
  int32_t sequence = 0;
  int32_t head = 0;
  int32_t number = 0;  // among the units of its sequence and head
  int32_t of = 0;      // that many
};

/// `starts`: [sequences + 1] running sums of UnitsOf().size(). REQUIRES: unit < the last times
/// kv_heads. COST: logarithmic in sequences.
constexpr UnitPlace PlaceOfUnit(const int32_t* starts, int sequences, int kv_heads, int32_t unit) {
  const auto target =
      static_cast<int32_t>(static_cast<uint32_t>(unit) / static_cast<uint32_t>(kv_heads));
  int low = 0;
  int high = sequences;
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    if (starts[middle] <= target)
      low = middle;
    else
      high = middle;
  }
  const int32_t of = starts[low + 1] - starts[low];
  const int32_t rest = unit - starts[low] * kv_heads;
  const auto head = static_cast<int32_t>(static_cast<uint32_t>(rest) / static_cast<uint32_t>(of));
  return {.sequence = low, .head = head, .number = rest - head * of, .of = of};
}

/// Where the units of a sequence and head start in the row.
constexpr int32_t SegmentStart(const int32_t* starts, int kv_heads, int sequence, int head) {
  return starts[sequence] * kv_heads + head * (starts[sequence + 1] - starts[sequence]);
}

/// What a unit reads and which of its tokens it sees; `token` is its first.
struct UnitSource {
  int32_t token = 0;
  bool window = false;  // of the scheme's bf16 window
  bool slab = false;    // kSlabTokens of bf16
  // Of its tokens, those before `front` or from `back` on, and before `end`, are seen.
  int32_t front = 0;
  int32_t back = 0;
  int32_t end = 0;
};

/// Unit `number` of a sequence. Under a selection, `page_of` tells the k-th selected page.
template <class PageOf>
constexpr UnitSource SourceOf(const KvScheme& scheme, const VisibleTokens& visible, int32_t length,
                              int32_t end_of_pages, int32_t selected, int32_t number,
                              PageOf page_of) {
  const SequenceUnits units = UnitsOf(scheme, visible, length, end_of_pages, selected);
  UnitSource source;
  if (number < units.sinks.size()) {
    source = {.token = units.sinks.TokenOf(number), .window = true, .slab = true};
  } else if (number - units.sinks.size() < units.pages.size()) {
    const int32_t k = number - units.sinks.size();
    const int32_t log_units = kLogPage - units.pages.log_step;  // of a page
    source.slab = log_units > 0;
    source.token = units.pages.TokenOf(k);
    if (selected >= 0)
      source.token = (page_of(k >> log_units) << kLogPage) +
                     ((k & ((1 << log_units) - 1)) << units.pages.log_step);
  } else {
    source = {.token = units.tail.TokenOf(number - units.sinks.size() - units.pages.size()),
              .window = true,
              .slab = true};
  }
  const int32_t step = source.slab ? kSlabTokens : kPageTokens;
  const TokenRange hidden = HiddenTokens(visible, length);
  source.front = Least(Most(hidden.first - source.token, 0), step);
  source.back = Least(Most(hidden.end - source.token, 0), step);
  source.end = Most(Least(length - source.token, step), 0);
  return source;
}

}  // namespace moecast::kernels
