// EngineConfig: the knobs of the modelled serving engine, named as vLLM names them.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "sim/base/units.h"

namespace moecast {

enum class GraphPadding {
  kMasked,  // padding rows run dense ops but are routed to no expert
  kRouted,  // padding rows are routed like the batch's first token
};

struct EngineConfig {
  int64_t max_batch_tokens = 0;  // token budget of a step (max_num_batched_tokens)
  int64_t max_sequences = 0;  // running sequences per attention-data-parallel group (max_num_seqs)
  int64_t kv_block_tokens = 0;
  /// Captured decode batch sizes, ascending; a decode-only step pads up to the next one. A step
  /// above the largest, or one with prefill, is launched eagerly. Empty: every step is eager.
  std::vector<int64_t> graph_batch_sizes{};
  GraphPadding padding = GraphPadding::kMasked;
};

/// When a run ends; at least one is set.
struct StopRule {
  std::optional<uint64_t> requests{};  // issued; the run drains what was issued
  std::optional<Duration> horizon{};   // simulated time; what is in flight stays unfinished
};

}  // namespace moecast
