#include "kernels/execute/step_form.h"

#include <algorithm>

#include "sim/base/check.h"

namespace moecast::kernels {
namespace {

int32_t Int(int64_t value) { return static_cast<int32_t>(value); }

/// Some token, so that rows of the embedding are read as scattered as real text reads them.
int32_t TokenAt(uint32_t slot, int64_t position, int32_t vocabulary) {
  constexpr uint64_t kMultiplier = 0x9e3779b97f4a7c15ULL;  // 2^64 over the golden ratio
  constexpr int kHighBits = 32;
  const uint64_t mixed =
      ((static_cast<uint64_t>(slot) << kHighBits) + static_cast<uint64_t>(position)) * kMultiplier;
  return static_cast<int32_t>((mixed >> kHighBits) % static_cast<uint64_t>(vocabulary));
}

void AddRows(const SequenceWork& work, int32_t vocabulary, StepInputs& inputs) {
  for (int64_t i = 0; i < work.tokens; ++i) {
    inputs.token_ids.push_back(TokenAt(work.slot, work.past + i, vocabulary));
    inputs.positions.push_back(Int(work.past + i));
  }
  if (work.emits) inputs.logit_index.push_back(Int(std::ssize(inputs.positions)) - 1);
}

void Clear(StepInputs& inputs) {
  for (auto* const list :
       {&inputs.token_ids, &inputs.positions, &inputs.lengths, &inputs.chunk_starts, &inputs.past,
        &inputs.key_starts, &inputs.logit_index}) {
    list->clear();
  }
}

}  // namespace

StepForm Describe(const StepRun& run, const FormLimits& limits, StepInputs& inputs) {
  Clear(inputs);
  StepForm form{
      .rows = Int(run.rows), .logit_rows = Int(run.logit_rows), .row_pages = limits.row_pages};
  for (const SequenceWork& work : run.sequences) {
    SIM_CHECK(!work.decodes || form.chunks == 0);
    AddRows(work, limits.vocabulary, inputs);
    inputs.lengths.push_back(Int(work.past + work.tokens));
    if (work.decodes) {
      ++form.decode_rows;
      continue;
    }
    inputs.chunk_starts.push_back(form.chunk_rows);
    inputs.past.push_back(Int(work.past));
    inputs.key_starts.push_back(form.context_rows);
    ++form.chunks;
    form.chunk_rows += Int(work.tokens);
    form.context_rows += Int(work.past + work.tokens);
    form.most_chunk_tokens = std::max(form.most_chunk_tokens, Int(work.tokens));
  }
  inputs.chunk_starts.push_back(form.chunk_rows);
  inputs.key_starts.push_back(form.context_rows);
  if (run.graph) {  // padding rows are decodes of nothing
    SIM_CHECK(form.chunks == 0);
    form.decode_rows = form.rows;
    inputs.lengths.resize(static_cast<size_t>(form.rows));
  }
  SIM_CHECK(form.rows >= form.decode_rows + form.chunk_rows);
  inputs.token_ids.resize(static_cast<size_t>(form.rows));
  inputs.positions.resize(static_cast<size_t>(form.rows));
  inputs.logit_index.resize(static_cast<size_t>(form.logit_rows));
  form.compute_bound = limits.moe_layers > 0 && form.rows > limits.memory_bound_rows;
  return form;
}

}  // namespace moecast::kernels
