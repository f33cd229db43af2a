// RoutingChunks: the chunks of a scenario's routing, read or generated, without pruned experts.
#pragma once

#include <optional>
#include <string>
#include <variant>

#include "scenarios/scenario.h"
#include "sim/base/result.h"
#include "traces/expert_pruning.h"
#include "traces/routing_reader.h"
#include "traces/routing_synthesis.h"

namespace moecast {

/// Equal keys mean equal rows. Replications bind differently but replay the same trace.
std::string TraceKey(const Scenario& scenario);

/// What the rules that replay a trace want of it.
struct WantedRanks {
  int64_t ranks = 0;    // that a row must have
  bool scores = false;  // gate scores must be recorded
  std::string rule;     // the rule that wants the most, for messages
};

class RoutingChunks {
 public:
  /// REQUIRES: NeedsReplayTable(scenario).
  /// ERRORS: missing or damaged trace; a trace of another shape than the model's (says which
  /// figures differ), or without the scores or ranks that are wanted; a pruning that cannot be
  /// counted. COST: pruning by count reads the calibration trace once.
  static Result<RoutingChunks> Open(const Scenario& scenario, const WantedRanks& wanted);
  [[nodiscard]] const RoutingHeader& header() const;
  /// False at the end. ERRORS: as RoutingReader::Next.
  Result<bool> Next(RoutingChunk& chunk);
  /// Share of top-k places that pruning left without a recorded expert; 0 without pruning.
  [[nodiscard]] double completed_share() const;

 private:
  using Source = std::variant<RoutingReader, RoutingSynthesiser>;
  explicit RoutingChunks(Source source) : source_(std::move(source)) {}
  static Result<Source> OpenSource(const Scenario& scenario, const WantedRanks& wanted);
  Source source_;
  std::optional<ExpertPruning> pruning_;
};

}  // namespace moecast
