// BatchRule: a rule that looks at all tokens of a step, and the steps it looks at.
#pragma once

#include <variant>

#include "sim/policy/experts/alloc_tokens.h"
#include "sim/policy/experts/lynx.h"
#include "sim/policy/experts/oea.h"
#include "sim/policy/experts/ranked_batch.h"
#include "sim/policy/experts/sere.h"
#include "sim/policy/experts/xshare.h"
#include "sim/policy/step_load.h"

namespace moecast {

/// Which tokens a batch-level rule sees; the others keep the native top-k.
enum class BatchScope {
  kDecodeSteps,  // those of steps without prompt tokens
  kDecodeRows,   // decoding ones, whatever is beside them
  kAllRows,      // every one
};

struct BatchRule {
  using Kind = std::variant<Oea, XShare, Lynx, Sere, AllocTokens>;
  Kind kind;
  BatchScope scope = BatchScope::kDecodeSteps;
  int64_t most_tokens = 0;  // the rule rests in steps with more tokens; 0: never

  /// Whether the rule acts in a step of this load.
  [[nodiscard]] bool Acts(const StepLoad& load) const;
  [[nodiscard]] bool ActsOnPrompts() const { return scope == BatchScope::kAllRows; }
  [[nodiscard]] bool NeedsScores() const;
  [[nodiscard]] bool HasWeights() const;
  [[nodiscard]] int64_t RanksWanted(int64_t top_k) const;
  [[nodiscard]] uint16_t Weight(const RankScore& rank) const;
  [[nodiscard]] int64_t BestRanks(int64_t top_k) const;
  /// Writes every token's experts to batch.chosen, unless redirecting(): then every token
  /// computes its native experts where Sere::Redirect moves them. COST: docs/performance/replay.md.
  void Choose(const RankedBatch& batch, BatchScratch& scratch) const;
  /// The rule that replaces whole experts, or null.
  [[nodiscard]] const Sere* redirecting() const { return std::get_if<Sere>(&kind); }
  friend bool operator==(const BatchRule&, const BatchRule&) = default;
};

}  // namespace moecast
