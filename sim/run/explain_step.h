// ExplainStep: one step of a scenario, priced op by op with the same code that prices every step of
// a run.
#pragma once

#include <cstdint>
#include <vector>

#include "scenarios/scenario.h"
#include "sim/base/result.h"
#include "sim/cost/step_cost.h"
#include "sim/model/memory.h"
#include "sim/model/step_shape.h"

namespace moecast {

/// A step to explain: sequences that decode one token each, and a prompt that starts.
struct StepQuestion {
  int64_t decode_sequences = 0;  // dealt evenly to the attention-data-parallel groups
  int64_t context = 0;           // cached tokens each attends to, the new one included; >= 1
  int64_t prefill_tokens = 0;    // prompt of one new request in the first group; 0: none
};

struct StepAnswer {
  MemoryPlan memory;
  int64_t tokens = 0;          // real ones over all groups
  int64_t prefill_tokens = 0;  // of them; less than asked for when the token budget cuts the prompt
  int64_t rows_per_group = 0;  // rows each group's GEMMs run, graph padding included
  bool graph = false;          // a captured graph is replayed
  double distinct_experts = 0;  // mean over MoE layers, sum over expert ranks
  std::vector<OpLine> lines;    // in execution order
  StepTime time;
};

/// Decode sequence i of the step replays output token i of the trace sequence bound to request i.
/// ERRORS: a model that does not fit; a step that exceeds the sequence or KV budget; a bad routing
/// trace.
Result<StepAnswer> ExplainStep(const Scenario& scenario, const StepQuestion& question);

}  // namespace moecast
