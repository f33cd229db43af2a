// Efficiencies, GPUs and steps that cost tests share.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "sim/cost/efficiency.h"
#include "sim/model/hardware.h"
#include "sim/model/step_shape.h"
#include "tests/support/builders.h"

namespace moecast::test {

/// Datasheet peak everywhere and no fixed times: a step costs exactly its roofline.
inline Efficiencies Ideal() {
  Efficiencies e;
  e.name = "ideal";
  e.expert_tile_rows = 1;
  return e;
}

/// A step of `groups` equal or different attention groups, owning what its shape points into.
struct Step {
  std::vector<AttentionLoad> groups{AttentionLoad{}};
  std::vector<ExpertLoad> experts{};
  bool graph = true;
  int64_t padded_rows = 0;  // at least; 0: no padding

  [[nodiscard]] StepShape Shape() const {
    StepShape shape{.attention = groups,
                    .rows_per_group = padded_rows,
                    .logit_rows_per_group = 0,
                    .tokens = 0,
                    .graph = graph,
                    .experts = experts};
    for (const AttentionLoad& load : groups) {
      shape.rows_per_group = std::max(shape.rows_per_group, load.tokens());
      shape.logit_rows_per_group =
          std::max(shape.logit_rows_per_group, load.decode_sequences + load.prefill_chunks);
      shape.tokens += load.tokens();
    }
    return shape;
  }
};

inline void AddDecode(AttentionLoad& load, int64_t context, int64_t window) {
  load.decode_sequences += 1;
  load.decode_context += context;
  load.decode_context_window += std::min(context, window);
}

/// Adds a chunk of `tokens` after `past` cached tokens; spans are cut to `window`.
inline void AddPrefill(AttentionLoad& load, int64_t tokens, int64_t past, int64_t window) {
  load.prefill_tokens += tokens;
  load.prefill_chunks += 1;
  load.prefill_context += past + tokens;
  load.prefill_context_window += std::min(past, window) + tokens;
  for (int64_t i = 1; i <= tokens; ++i) {
    load.prefill_pairs += static_cast<double>(past + i);
    load.prefill_pairs_window += static_cast<double>(std::min(past + i, window));
  }
}

inline ExpertLoad LoadOf(double distinct, double rows_each, double tile = 1) {
  const double padded = std::ceil(rows_each / tile) * tile;
  return {.assignments = distinct * rows_each,
          .distinct = distinct,
          .padded_rows = distinct * padded,
          .max_expert = rows_each};
}

}  // namespace moecast::test
