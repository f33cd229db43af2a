// SelectionGauge: what rules that choose in the step do to the experts of a token, taken from every
// kEvery-th token that they act on. Quality proxies, not quality. docs/model/expert_rules.md,
// "Proxies".
#pragma once

#include <cstdint>
#include <span>

#include "sim/policy/experts/ranked_batch.h"
#include "sim/policy/experts/sere.h"
#include "sim/replay/replay_table.h"
#include "sim/replay/routed_span.h"

namespace moecast {

class SelectionGauge {
 public:
  /// A prime, so that the tokens taken move through batches of every size.
  static constexpr uint64_t kEvery = 127;

  /// Whether the next token is one of them. Call once per token.
  bool TakesNext() { return tokens_++ % kEvery == 0; }
  /// `chosen`: a bit row as RankedRow's.
  void AddChosen(const RankedShape& shape, const RankedRow& row, const uint64_t* chosen);
  /// A replaced expert counts as not computed.
  void AddRedirected(const RankedShape& shape, const RankedRow& row, const Sere& rule,
                     const BatchScratch& scratch);
  /// Experts whose `counts` [moe_layer * stride + expert] are 0 are not computed. No score is
  /// known.
  void AddFiltered(const RowLayout& layout, const Line* native, std::span<const uint32_t> counts);
  /// `tokens` tokens under a token-level rule, which does to each what it does to its trace.
  void AddTokenRule(const ReplayTable& table, int64_t tokens);

  [[nodiscard]] const SelectionProxies& proxies() const { return proxies_; }

 private:
  /// One (token, layer) pair: what of the native experts is not computed.
  struct Cell {
    int64_t missing = 0;
    bool changed = false;
  };
  void Add(const Cell& cell);

  uint64_t tokens_ = 0;
  SelectionProxies proxies_;
};

}  // namespace moecast
