#include "sim/run/build.h"

#include <utility>

#include "traces/request_source.h"

namespace moecast {
namespace {

std::vector<int64_t> KeptPerMoeLayer(const Scenario& scenario) {
  const int64_t native = scenario.model.moe->top_k;
  const ExpertSelection& rule = *scenario.experts.token_rule();
  std::vector<int64_t> kept;
  for (int64_t layer = 0; layer < scenario.model.moe_layer_count(); ++layer) {
    kept.push_back(KeptExperts(rule, {.moe_layer = layer, .scores = {}, .native_top_k = native}));
  }
  return kept;
}

LoadShape LoadShapeOf(const Scenario& scenario) {
  const bool measured = scenario.profile != nullptr && scenario.profile->expert_tile_rows > 0;
  return {.expert_ranks = scenario.parallelism.expert,
          .tile_rows = measured ? scenario.profile->expert_tile_rows
                                : scenario.efficiencies.expert_tile_rows,
          .mixed_experts = scenario.model.formats.mix ? scenario.model.formats.mix->experts
                                                      : std::vector<int64_t>{}};
}

/// None, or rounded up to whole nanoseconds.
Duration RequestLatency(const Efficiencies& efficiencies) {
  const Seconds latency = efficiencies.host_per_request;
  return latency > Seconds(0) ? RoundUpToNs(latency) : Duration{};
}

}  // namespace

KvPlan PlanKv(const Scenario& scenario) { return PlanKv(scenario.kv, scenario.model); }

KvUse UseOf(const Scenario& scenario) {
  return MakeKvUse(PlanKv(scenario), KvElementsOf(scenario.model, scenario.parallelism.tensor),
                   scenario.engine.kv_block_tokens);
}

Result<MemoryPlan> PlanMemory(const Scenario& scenario) {
  return PlanMemory(scenario.model, scenario.parallelism, scenario.device, PlanKv(scenario),
                    scenario.memory);
}

std::vector<int32_t> MoeLayerIndices(const ModelSpec& model) {
  std::vector<int32_t> indices;
  for (size_t i = 0; i < model.layers.size(); ++i) {
    if (model.layers[i].feed_forward == FeedForwardKind::kMoe) {
      indices.push_back(static_cast<int32_t>(i));
    }
  }
  return indices;
}

bool NeedsReplayTable(const Scenario& scenario) {
  return scenario.model.moe.has_value() &&
         !std::holds_alternative<UniformRouting>(scenario.routing);
}

SelectionNotes ClosedFormSelection(const Scenario& scenario) {
  // A rule that reads gate scores has no closed form: its replay table says what it kept.
  const ExpertSelection* rule = scenario.experts.token_rule();
  if (!scenario.model.moe || rule == nullptr || NeedsScores(*rule)) return {};
  const int64_t native = scenario.model.moe->top_k;
  const int64_t layers = scenario.model.moe_layer_count();
  int64_t changed = 0;
  for (int64_t layer = 0; layer < layers; ++layer) {
    const GateRow row{.moe_layer = layer, .scores = {}, .native_top_k = native};
    changed += KeptExperts(*rule, row) < native ? 1 : 0;
  }
  const double kept = MeanKept(*rule, native, layers);
  return {.mean_kept = kept,
          .native_top_k = static_cast<double>(native),
          .changed_share = static_cast<double>(changed) / static_cast<double>(layers),
          .changed_experts = static_cast<double>(native) - kept};
}

std::shared_ptr<const ReplayTable> CaseRouting::table() const {
  if (rules.rules.size() != 1 || IsStepLevel(rules.rules.front().rule)) return nullptr;
  return rules.rules.front().table;
}

RoutingSource BuildRoutingSource(const Scenario& scenario, CaseRouting routing, Seed seed) {
  if (!scenario.model.moe) return NoRouting{};
  if (auto table = routing.table()) {
    return ReplaySource(std::move(table), LoadShapeOf(scenario), seed);
  }
  if (!routing.rules.rules.empty()) {
    return SelectingSource(std::move(routing.rules), LoadShapeOf(scenario), seed);
  }
  return UniformSource(scenario.model.moe_layer_count(), scenario.model.moe->experts,
                       KeptPerMoeLayer(scenario), LoadShapeOf(scenario));
}

StepCost BuildStepCost(const Scenario& scenario) {
  return {scenario.model,  scenario.parallelism,  PlanKv(scenario), scenario.device,
          scenario.fabric, scenario.efficiencies, scenario.profile};
}

Result<SimulatorInputs> BuildSimulatorInputs(const Scenario& scenario, RunParts parts) {
  SIM_CHECK(parts.routing.rules.rules.empty() != NeedsReplayTable(scenario));
  const Seed seed{.seed = scenario.seed, .replication = parts.replication};
  SIM_TRY(RequestSource requests, RequestSource::Open(scenario.workload, seed));
  if (!parts.cost) parts.cost.emplace(BuildStepCost(scenario));
  parts.cost->set_quantile(parts.quantile);
  parts.recorder.slo = scenario.slo;
  parts.recorder.warmup_requests = scenario.warmup_requests;
  parts.recorder.max_positions = scenario.model.max_positions;
  return SimulatorInputs{
      .engine = scenario.engine,
      .parallelism = scenario.parallelism,
      .sliding_window = scenario.model.sliding_window,
      .moe_layers = scenario.model.moe_layer_count(),
      .selection = KindOf(scenario.experts.rules.front()),
      .replicas = scenario.replicas,
      .request_latency = RequestLatency(scenario.efficiencies),
      .kv_tokens_per_group = parts.memory.kv_tokens,
      .kv_use = UseOf(scenario),
      .router = scenario.router,
      .cost = *std::move(parts.cost),
      .routing = BuildRoutingSource(scenario, std::move(parts.routing), seed),
      .requests = std::move(requests),
      .stop = scenario.stop,
      .recorder = std::move(parts.recorder),
  };
}

}  // namespace moecast
