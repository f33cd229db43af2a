// Build: a validated Scenario becomes a Simulator. Plans memory, loads or synthesises routing,
// opens the request source.
#pragma once

#include <memory>

#include "scenarios/scenario.h"
#include "sim/base/result.h"
#include "sim/engine/simulator.h"
#include "sim/replay/replay_table.h"

namespace moecast {

/// Memory plan of the scenario, with the errors a user should see when the model does not fit.
Result<MemoryPlan> PlanMemory(const Scenario& scenario);

/// The routing table of a scenario; null for dense models and uniform routing. Cases that share
/// routing and selection share one table.
Result<std::shared_ptr<const ReplayTable>> BuildReplayTable(const Scenario& scenario);

/// `recorder` brings the sink; slo and warm-up are filled in from the scenario.
Result<Simulator> BuildSimulator(const Scenario& scenario, std::shared_ptr<const ReplayTable> table,
                                 uint32_t replication, RecorderConfig recorder);

}  // namespace moecast
