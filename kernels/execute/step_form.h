// StepForm and StepInputs: a step cut into what its launches depend on and what they read from
// device memory. Steps of one form run the same launches, so they share a captured graph.
#pragma once

#include <compare>
#include <cstdint>
#include <vector>

#include "kernels/execute/kv_pages.h"
#include "sim/model/step_executor.h"

namespace moecast::kernels {

struct StepForm {
  int32_t rows = 0;               // of dense products: decode_rows + chunk_rows
  int32_t decode_rows = 0;        // first rows: one token per sequence, padding included
  int32_t chunks = 0;             // sequences with prompt tokens
  int32_t chunk_rows = 0;         // of all of them
  int32_t most_chunk_tokens = 0;  // of one of them
  int32_t context_rows = 0;       // chunk rows and the cached tokens in front of them
  int32_t logit_rows = 0;         // rows that the output head computes
  int32_t row_pages = 0;          // entries of a sequence's row in the page table
  bool compute_bound = false;     // which form of the expert products
  /// Whether a chunk has cached tokens in front of it.
  [[nodiscard]] bool has_past() const { return context_rows > chunk_rows; }
  friend auto operator<=>(const StepForm&, const StepForm&) = default;
};

/// What the launches of a form read, besides weights, caches and the routing.
struct StepInputs {
  std::vector<int32_t> token_ids;     // [rows]
  std::vector<int32_t> positions;     // [rows]
  std::vector<int32_t> lengths;       // [decode_rows + chunks] cached tokens after the step
  std::vector<int32_t> chunk_starts;  // [chunks + 1] first chunk row of each, from 0
  std::vector<int32_t> past;          // [chunks] cached tokens before the step
  std::vector<int32_t> key_starts;    // [chunks + 1] first context row of each, from 0
  std::vector<int32_t> logit_index;   // [logit_rows] rows that need logits
};

/// What of a model and of the expert products decides the form.
struct FormLimits {
  int32_t vocabulary = 0;
  int32_t moe_layers = 0;
  int32_t experts = 0;            // of a layer
  int32_t memory_bound_rows = 0;  // up to which that form of the products is used
  int32_t row_pages = 0;          // of the page table
};

/// Fills `inputs`. Token ids are a function of slot and position. REQUIRES: decodes come first.
StepForm Describe(const StepRun& run, const FormLimits& limits, StepInputs& inputs);

}  // namespace moecast::kernels
