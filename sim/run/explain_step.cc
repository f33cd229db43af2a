#include "sim/run/explain_step.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "sim/engine/decode_set.h"
#include "sim/engine/replica.h"
#include "sim/engine/scheduler.h"
#include "sim/run/build.h"
#include "sim/run/routing_tables.h"

namespace moecast {
namespace {

/// The step's attention and routing, gathered from the engine's own batch keepers.
struct Batch {
  std::vector<AttentionLoad> attention;  // [group]
  std::vector<RoutedSpan> spans;
};

Status CheckBudgets(const Scenario& scenario, const MemoryPlan& memory, const StepQuestion& q) {
  const auto error = [](const std::string& what, int64_t value, const std::string& limit) {
    return Error{
        what + " " + std::to_string(value) + " is outside what the scenario allows: " + limit,
        "step to explain"};
  };
  const int64_t groups = scenario.parallelism.data;
  if (q.decode_sequences < 0 || q.prefill_tokens < 0 ||
      q.decode_sequences + q.prefill_tokens == 0) {
    return error("batch", q.decode_sequences, "at least one sequence or prompt token");
  }
  const int64_t per_group = (q.decode_sequences + groups - 1) / groups;
  if (per_group > scenario.engine.max_sequences) {
    return error("batch", q.decode_sequences,
                 std::to_string(scenario.engine.max_sequences * groups) + " running sequences");
  }
  if (q.decode_sequences > 0 && q.context < 1) {
    return error("context", q.context, "at least one token");
  }
  const KvUse use = UseOf(scenario);
  const int64_t blocks =
      per_group * use.BlocksFor(0, q.context) + use.BlocksFor(0, q.prefill_tokens);
  if (blocks > memory.kv_tokens / scenario.engine.kv_block_tokens) {
    return error("cached tokens", per_group * q.context + q.prefill_tokens,
                 std::to_string(memory.kv_tokens) + " tokens of KV cache per group");
  }
  return Ok();
}

void AddDecodes(const Scenario& scenario, const StepQuestion& q, const RoutingSource& routing,
                Batch& batch) {
  const int64_t groups = scenario.parallelism.data;
  for (int64_t g = 0; g < groups; ++g) {
    DecodeSet decodes({.kv = UseOf(scenario), .sliding_window = scenario.model.sliding_window});
    for (int64_t i = g; i < q.decode_sequences; i += groups) {
      const RequestId request(static_cast<uint64_t>(i));
      decodes.Join(
          {.slot = static_cast<uint32_t>(i),
           .cached_tokens = q.context - 1,
           .tokens_left = 1,
           .decode_row = i,
           .routing = std::visit([&](const auto& s) { return s.Bind(request); }, routing)});
    }
    decodes.AddLoad(batch.attention.emplace_back());
    decodes.AppendSpans(batch.spans);
  }
}

/// Adds the prompt's work to a group that only decodes.
void AddPrefill(const AttentionLoad& prompt, AttentionLoad& load) {
  AttentionLoad decodes = load;
  load = prompt;
  load.decode_sequences = decodes.decode_sequences;
  load.decode_context = decodes.decode_context;
  load.decode_context_window = decodes.decode_context_window;
  load.decode_longest = decodes.decode_longest;
  load.decode_attended = decodes.decode_attended;
  KvSplit& split = load.kv.front();  // nothing is under pressure in a step by itself
  const KvSplit& decoding = decodes.kv.front();
  split.decode_sequences = decoding.decode_sequences;
  split.decode_context = decoding.decode_context;
  split.decode_context_window = decoding.decode_context_window;
  split.decode_older = decoding.decode_older;
  split.decode_older_window = decoding.decode_older_window;
  for (size_t b = 0; b < split.moved.size(); ++b) split.moved[b] += decoding.moved[b];
}

void AddPrompt(const Scenario& scenario, const MemoryPlan& memory, const StepQuestion& q,
               const RoutingSource& routing, Batch& batch) {
  if (q.prefill_tokens == 0) return;
  Scheduler scheduler(
      {.max_batch_tokens = scenario.engine.max_batch_tokens,
       .max_sequences = scenario.engine.max_sequences,
       .kv = {.tokens = memory.kv_tokens, .block_tokens = scenario.engine.kv_block_tokens},
       .sliding_window = scenario.model.sliding_window,
       .kv_use = UseOf(scenario)});
  Sequence sequence;
  sequence.record.input_tokens = q.prefill_tokens;
  sequence.record.output_tokens = 1;
  const RequestId request(static_cast<uint64_t>(q.decode_sequences));
  sequence.routing = std::visit([&](const auto& s) { return s.Bind(request); }, routing);
  scheduler.Enqueue(sequence);
  std::vector<RoutedSpan> none;
  const AttentionLoad prompt = scheduler.FormBatch(Time{}, none).load;
  scheduler.AppendSpans(batch.spans);
  AttentionLoad& load = batch.attention.front();
  AddPrefill(prompt, load);
}

StepShape ShapeOf(const Scenario& scenario, const StepQuestion& q, const Batch& batch) {
  StepShape shape{.attention = batch.attention};
  for (const AttentionLoad& load : batch.attention) {
    shape.tokens += load.tokens();
    shape.rows_per_group = std::max(shape.rows_per_group, load.tokens());
    const bool prompt_ends = load.prefill_chunks > 0 && load.prefill_tokens == q.prefill_tokens;
    shape.logit_rows_per_group =
        std::max(shape.logit_rows_per_group, load.decode_sequences + (prompt_ends ? 1 : 0));
  }
  if (q.prefill_tokens == 0) ReplayGraph(scenario.engine.graph_batch_sizes, shape);
  return shape;
}

int64_t DecodeSequences(const Batch& batch) {
  int64_t sequences = 0;
  for (const AttentionLoad& load : batch.attention) sequences += load.decode_sequences;
  return sequences;
}

/// Expert loads of the step, [moe_layer][expert_rank].
std::vector<ExpertLoad> CountExperts(const Scenario& scenario, const Batch& batch,
                                     const StepShape& shape, RoutingSource& routing) {
  std::vector<ExpertLoad> loads(
      static_cast<size_t>(scenario.model.moe_layer_count() * scenario.parallelism.expert));
  if (loads.empty()) return loads;
  const bool routed = shape.graph && scenario.engine.padding == GraphPadding::kRouted;
  const int64_t padding =
      routed ? shape.rows_per_group * scenario.parallelism.data - shape.tokens : 0;
  const StepLoad load{.decode_sequences = DecodeSequences(batch),
                      .prefill_tokens = shape.tokens - DecodeSequences(batch)};
  std::visit([&](auto& source) { source.Count(batch.spans, padding, loads, load); }, routing);
  return loads;
}

Result<RoutingSource> OpenRouting(const Scenario& scenario) {
  const StudyCase only{.variant = "base", .load = "", .scenario = scenario};
  SIM_TRY(RoutingTables tables, LoadRoutingTables({&only, 1}, 1));
  return BuildRoutingSource(scenario, std::move(tables.front()),
                            {.seed = scenario.seed, .replication = 0});
}

}  // namespace

Result<StepAnswer> ExplainStep(const Scenario& scenario, const StepQuestion& question) {
  SIM_TRY(const MemoryPlan memory, PlanMemory(scenario));
  SIM_RETURN_IF_ERROR(CheckBudgets(scenario, memory, question));
  SIM_TRY(RoutingSource routing, OpenRouting(scenario));
  Batch batch;
  AddDecodes(scenario, question, routing, batch);
  AddPrompt(scenario, memory, question, routing, batch);
  StepShape shape = ShapeOf(scenario, question, batch);
  const std::vector<ExpertLoad> loads = CountExperts(scenario, batch, shape, routing);
  shape.experts = loads;
  const auto* selecting = std::get_if<SelectingSource>(&routing);
  shape.selection =
      selecting != nullptr ? selecting->selection() : KindOf(scenario.experts.rules.front());
  StepCost cost = BuildStepCost(scenario);
  StepAnswer answer{.memory = memory,
                    .tokens = shape.tokens,
                    .prefill_tokens = batch.attention.front().prefill_tokens,
                    .rows_per_group = shape.rows_per_group,
                    .graph = shape.graph,
                    .lines = cost.Explain(shape),
                    .time = cost.Predict(shape)};
  for (const ExpertLoad& load : loads) answer.distinct_experts += load.distinct;
  if (!loads.empty()) {
    answer.distinct_experts /= static_cast<double>(scenario.model.moe_layer_count());
  }
  return answer;
}

}  // namespace moecast
