// Scheduler: continuous batching with chunked prefill for one attention-data-parallel group: its
// waiting queue, its running sequences, its KV cache. Follows vLLM V1's order of decisions
// [vLLM], [Sarathi23]; docs/model/engine.md states it and what is left out.
//
// Running sequences are in order of admission. All decode but at most the newest, whose prompt may
// still be incomplete: prompts are admitted while token budget is left, and a chunk that does not
// finish its prompt has used it up.
//
// INV-3: no step exceeds its token, sequence or KV budget. INV-4: a step is empty only when nothing
// waits.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "sim/engine/decode_set.h"
#include "sim/engine/engine_config.h"
#include "sim/engine/kv_cache.h"
#include "sim/engine/kv_use.h"
#include "sim/engine/sequence.h"
#include "sim/model/step_executor.h"
#include "sim/model/step_shape.h"

namespace moecast {

/// One group's part of a step.
struct GroupStep {
  AttentionLoad load{};
  int64_t emitting = 0;     // sequences that emit a token: decodes and last prefill chunks
  int64_t preemptions = 0;  // made while forming the step
};

class Scheduler {
 public:
  struct Config {
    int64_t max_batch_tokens = 0;
    int64_t max_sequences = 0;
    KvCache::Size kv;
    int64_t sliding_window = 0;  // 0: none
    /// What a sequence takes of the cache; absent: every token alike, kv.block_tokens to a block.
    std::optional<KvUse> kv_use{};
  };
  /// A sequence budget above the token budget is cut to it, so every decode runs in every step.
  explicit Scheduler(const Config& config);

  /// False when the request would not fit an empty cache: it would preempt itself for ever.
  [[nodiscard]] bool CanEverFit(const Sequence& sequence) const;
  /// Appends to the waiting queue. REQUIRES: CanEverFit(sequence).
  void Enqueue(const Sequence& sequence);

  /// Chooses the next step's tokens and reserves their KV blocks: decodes first, preempting the
  /// most recently admitted sequences when blocks run out and no older one can be converted; then
  /// the unfinished prompt; then, if nothing was preempted, waiting sequences in order while every
  /// budget lasts. Appends the rows of preempted decodes to `executed`. REQUIRES: no step in
  /// flight.
  GroupStep FormBatch(Time now, std::vector<RoutedSpan>& executed);
  /// Appends the rows that the step in flight routes, decodes first.
  void AppendSpans(std::vector<RoutedSpan>& spans) const;
  /// Appends the sequences of the step in flight, in the order of AppendSpans.
  void AppendWork(std::vector<SequenceWork>& work) const;
  /// Ends the step: tokens are emitted at `now`, finished sequences leave and free their blocks.
  void FinishStep(Time now, StepOutcome& outcome);
  /// Reports every sequence still in the system as unfinished. A step in flight does not count.
  void Abandon(StepOutcome& outcome);

  [[nodiscard]] int64_t waiting() const { return static_cast<int64_t>(waiting_.size()); }
  [[nodiscard]] int64_t running() const {
    return decodes_.size() + static_cast<int64_t>(chunks_.size());
  }
  [[nodiscard]] bool has_work() const { return waiting() + running() > 0; }
  [[nodiscard]] const KvCache& kv() const { return kv_; }
  /// Blocks held by running sequences, counted one by one; equals kv().used() (INV-3).
  /// COST: O(running).
  [[nodiscard]] int64_t CountHeldBlocks() const;

 private:
  /// Prompt tokens (or tokens computed again) of one sequence. During a step: what it computes.
  /// Between steps: the one unfinished prompt, with tokens 0.
  struct Chunk {
    uint32_t slot = 0;
    int64_t past = 0;
    int64_t tokens = 0;
  };

  [[nodiscard]] int64_t BlocksFor(const Sequence& sequence, int64_t tokens) const {
    return use_.BlocksFor(sequence.kv_store, tokens);
  }
  [[nodiscard]] bool UnderPressure() const;
  /// Rewrites the oldest decode of the first KV store for the second. RETURNS: false if the policy
  /// forbids it or there is none.
  bool ConvertOldest();
  int64_t ReserveDecodes(Time now, std::vector<RoutedSpan>& executed);
  bool ContinuePrompt(int64_t budget);
  void Admit(Time now, int64_t budget);
  bool AddChunk(uint32_t slot, int64_t past, int64_t budget);
  void PreemptNewest(Time now, std::vector<RoutedSpan>& executed);
  void ReturnToQueue(uint32_t slot, int64_t cached_tokens);
  void FinishDecodes(Time now, StepOutcome& outcome);
  void EmitFromChunk(const Chunk& chunk, Time now, StepOutcome& outcome);
  void Leave(uint32_t slot, Time now, StepOutcome& outcome);
  [[nodiscard]] GroupStep Describe() const;
  void AddChunkLoad(const Chunk& chunk, AttentionLoad& load) const;
  void AddChunkSplit(const Chunk& chunk, KvSplit& split) const;
  [[nodiscard]] bool CompletesPrompt(const Chunk& chunk) const;
  [[nodiscard]] RoutedSpan DecodedRows(const DecodeSet::Member& member) const;
  void AppendChunkSpans(const Chunk& chunk, std::vector<RoutedSpan>& spans) const;
  uint32_t TakeSlot(const Sequence& sequence);

  Config config_;
  KvUse use_;
  KvCache kv_;
  std::vector<Sequence> sequences_;  // by slot; slots are reused
  std::vector<uint32_t> free_slots_;
  std::deque<uint32_t> waiting_;
  DecodeSet decodes_;
  std::vector<Chunk> chunks_;
  std::vector<DecodeSet::Member> leaving_;  // reused per step
  int64_t converted_tokens_ = 0;            // while forming this step
  bool step_in_flight_ = false;
};

}  // namespace moecast
