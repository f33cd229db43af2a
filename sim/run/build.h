// Build: a validated Scenario becomes a Simulator. Plans memory, joins routing with the model's
// shape, opens the request source. After it everything is integers and indices.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "scenarios/scenario.h"
#include "sim/base/result.h"
#include "sim/engine/simulator.h"
#include "sim/replay/replay_table.h"

namespace moecast {

/// The scenario's KV policy on its model, and what it means for the scheduler's blocks.
KvPlan PlanKv(const Scenario& scenario);
KvUse UseOf(const Scenario& scenario);

/// Memory plan of the scenario, with the errors a user should see when the model does not fit.
Result<MemoryPlan> PlanMemory(const Scenario& scenario);

/// Model layer index of every MoE layer, ascending.
std::vector<int32_t> MoeLayerIndices(const ModelSpec& model);

/// True when the scenario's expert choices are replayed row by row, from a file or generated: it
/// has MoE layers and its routing is not the closed form.
bool NeedsReplayTable(const Scenario& scenario);

/// What expert selection does to every token when no table says so: exact for token-independent
/// rules, gate mass NaN. All zero for a dense model.
SelectionNotes ClosedFormSelection(const Scenario& scenario);

/// What a case's requests replay; no rules where NeedsReplayTable is false.
struct CaseRouting {
  RoutingRules rules = {};
  double completed_share = 0;  // of top-k places that pruning left without a recorded expert
  /// The rows of the only token-level rule; null when the policy decides in the step.
  [[nodiscard]] std::shared_ptr<const ReplayTable> table() const;
};

/// The routing source of one run. `routing` has rules exactly when NeedsReplayTable is true.
RoutingSource BuildRoutingSource(const Scenario& scenario, CaseRouting routing, Seed seed);

/// Prices the scenario's steps. REQUIRES: `scenario` outlives the result.
StepCost BuildStepCost(const Scenario& scenario);

/// What one run of a scenario takes beyond the scenario itself.
struct RunParts {
  CaseRouting routing;  // has rules exactly when NeedsReplayTable is true
  MemoryPlan memory;
  uint32_t replication = 0;
  StepQuantile quantile = StepQuantile::kExpected;
  RecorderConfig recorder;         // brings the sink; the rest is filled in from the scenario
  std::optional<StepCost> cost{};  // of an earlier run of the scenario; absent: a new one
};

/// Every input of one run. REQUIRES: `scenario` outlives the inputs (StepCost points into it).
/// ERRORS: the request source's: missing or malformed file.
Result<SimulatorInputs> BuildSimulatorInputs(const Scenario& scenario, RunParts parts);

}  // namespace moecast
