#include "sim/engine/scheduler.h"

#include <algorithm>
#include <limits>
#include <optional>

#include "sim/base/check.h"

namespace moecast {
namespace {

/// Sum of past + i for i in 1..tokens: what `tokens` consecutive queries attend to.
double CausalPairs(int64_t past, int64_t tokens) {
  const auto p = static_cast<double>(past);
  const auto c = static_cast<double>(tokens);
  return c * p + c * (c + 1.0) / 2.0;
}

constexpr int64_t kNoWindow = std::numeric_limits<int64_t>::max();

/// CausalPairs with each query's span cut to `window`.
double WindowPairs(int64_t past, int64_t tokens, int64_t window) {
  const int64_t inside = std::clamp(window - past, int64_t{0}, tokens);
  const double cut = inside < tokens ? static_cast<double>((tokens - inside) * window) : 0;
  return CausalPairs(past, inside) + cut;
}

/// Cached tokens that `tokens` queries behind `past` read together, the new ones included.
int64_t WindowContext(int64_t past, int64_t tokens, int64_t window) {
  return std::min(past, window - 1) + tokens;
}

}  // namespace

Scheduler::Scheduler(const Config& config)
    : config_(config),
      use_(config.kv_use ? *config.kv_use : PlainKvUse(config.kv.block_tokens)),
      kv_(config.kv),
      decodes_({.kv = use_, .sliding_window = config.sliding_window}) {
  SIM_CHECK(config.max_batch_tokens >= 1 && config.max_sequences >= 1);
  config_.max_sequences = std::min(config.max_sequences, config.max_batch_tokens);
}

bool Scheduler::CanEverFit(const Sequence& sequence) const {
  // In the first store, in which it may have to begin.
  return use_.BlocksFor(0, sequence.peak_tokens()) <= kv_.total();
}

void Scheduler::Enqueue(const Sequence& sequence) {
  SIM_CHECK(CanEverFit(sequence));
  waiting_.push_back(TakeSlot(sequence));
}

uint32_t Scheduler::TakeSlot(const Sequence& sequence) {
  if (free_slots_.empty()) {
    sequences_.push_back(sequence);
    return static_cast<uint32_t>(sequences_.size() - 1);
  }
  const uint32_t slot = free_slots_.back();
  free_slots_.pop_back();
  sequences_[slot] = sequence;
  return slot;
}

GroupStep Scheduler::FormBatch(Time now, std::vector<RoutedSpan>& executed) {
  SIM_CHECK(!step_in_flight_);
  converted_tokens_ = 0;
  while (UnderPressure() && ConvertOldest()) {
  }
  int64_t preemptions = ReserveDecodes(now, executed);
  const int64_t budget = config_.max_batch_tokens - decodes_.size();
  if (!chunks_.empty() && !ContinuePrompt(budget)) {
    PreemptNewest(now, executed);
    ++preemptions;
  }
  if (preemptions == 0) Admit(now, budget - (chunks_.empty() ? 0 : chunks_.front().tokens));
  GroupStep step = Describe();
  step.preemptions = preemptions;
  SIM_CHECK(step.load.tokens() <= config_.max_batch_tokens);  // INV-3
  SIM_CHECK(running() <= config_.max_sequences);              // INV-3
  step_in_flight_ = true;
  return step;
}

bool Scheduler::UnderPressure() const {
  return use_.pressure &&
         static_cast<double>(kv_.used()) > use_.pressure->above * static_cast<double>(kv_.total());
}

bool Scheduler::ConvertOldest() {
  if (!use_.pressure || use_.pressure->who != KvPressure::Who::kOldest) return false;
  for (int64_t i = 0; i < decodes_.size(); ++i) {
    const DecodeSet::Member member = decodes_.at(i);
    if (member.kv_store != 0) continue;
    const int64_t before = use_.BlocksFor(0, member.cached_tokens);
    const int64_t after = use_.BlocksFor(1, member.cached_tokens);
    if (after >= before) continue;  // its windows would cost more than its codes save
    kv_.Release(before - after);
    sequences_[member.slot].kv_store = 1;
    decodes_.MoveTo(i, 1);
    converted_tokens_ += use_.Kept(member.cached_tokens);
    return true;
  }
  return false;
}

int64_t Scheduler::ReserveDecodes(Time now, std::vector<RoutedSpan>& executed) {
  int64_t preemptions = 0;
  while (!kv_.TryReserve(decodes_.BlocksDue())) {
    if (ConvertOldest()) continue;
    PreemptNewest(now, executed);
    ++preemptions;
  }
  return preemptions;
}

void Scheduler::PreemptNewest(Time now, std::vector<RoutedSpan>& executed) {
  if (!chunks_.empty()) {
    const Chunk chunk = chunks_.back();
    chunks_.pop_back();
    ReturnToQueue(chunk.slot, chunk.past);
    return;
  }
  const DecodeSet::Member member = decodes_.PopNewest();
  if (const RoutedSpan rows = DecodedRows(member); rows.rows > 0) executed.push_back(rows);
  Sequence& sequence = sequences_[member.slot];
  sequence.record.generated_tokens = sequence.record.output_tokens - member.tokens_left;
  sequence.last_token = now;  // steps follow each other without a gap while something decodes
  ReturnToQueue(member.slot, member.cached_tokens);
}

void Scheduler::ReturnToQueue(uint32_t slot, int64_t cached_tokens) {
  kv_.Release(BlocksFor(sequences_[slot], cached_tokens));
  ++sequences_[slot].record.preemptions;
  waiting_.push_front(slot);
}

bool Scheduler::ContinuePrompt(int64_t budget) {
  SIM_CHECK(chunks_.size() == 1 && budget >= 1);
  const Chunk unfinished = chunks_.back();
  chunks_.pop_back();
  if (AddChunk(unfinished.slot, unfinished.past, budget)) return true;
  chunks_.push_back(unfinished);
  return false;
}

void Scheduler::Admit(Time now, int64_t budget) {
  while (!waiting_.empty() && budget > 0 && running() < config_.max_sequences) {
    const uint32_t slot = waiting_.front();
    const bool low = UnderPressure() && use_.pressure->who == KvPressure::Who::kNew;
    sequences_[slot].kv_store = low ? 1 : 0;
    if (!AddChunk(slot, 0, budget)) return;
    waiting_.pop_front();
    budget -= chunks_.back().tokens;
    RequestRecord& record = sequences_[slot].record;
    if (record.preemptions == 0) record.scheduled = now;
  }
}

bool Scheduler::AddChunk(uint32_t slot, int64_t past, int64_t budget) {
  const Sequence& sequence = sequences_[slot];
  const int64_t tokens = std::min(sequence.known_tokens() - past, budget);
  if (!kv_.TryReserve(BlocksFor(sequence, past + tokens) - BlocksFor(sequence, past))) return false;
  chunks_.push_back({.slot = slot, .past = past, .tokens = tokens});
  return true;
}

bool Scheduler::CompletesPrompt(const Chunk& chunk) const {
  return chunk.past + chunk.tokens == sequences_[chunk.slot].known_tokens();
}

GroupStep Scheduler::Describe() const {
  GroupStep step{.emitting = decodes_.size()};
  step.load.converted_tokens = converted_tokens_;
  decodes_.AddLoad(step.load);
  for (const Chunk& chunk : chunks_) {
    AddChunkLoad(chunk, step.load);
    if (CompletesPrompt(chunk)) ++step.emitting;
  }
  return step;
}

void Scheduler::AddChunkLoad(const Chunk& chunk, AttentionLoad& load) const {
  const int64_t keep = use_.Kept(kNoWindow);
  const int64_t window = config_.sliding_window;
  load.prefill_tokens += chunk.tokens;
  ++load.prefill_chunks;
  load.prefill_pairs += WindowPairs(chunk.past, chunk.tokens, keep);
  load.prefill_context += WindowContext(chunk.past, chunk.tokens, keep);
  load.prefill_longest = std::max(load.prefill_longest, chunk.past + chunk.tokens);
  if (window > 0) {
    load.prefill_pairs_window += WindowPairs(chunk.past, chunk.tokens, use_.Kept(window));
    load.prefill_context_window += WindowContext(chunk.past, chunk.tokens, use_.Kept(window));
  }
  if (!use_.plain) AddChunkSplit(chunk, load.kv[sequences_[chunk.slot].kv_store]);
}

void Scheduler::AddChunkSplit(const Chunk& chunk, KvSplit& split) const {
  const int64_t keep = use_.Kept(kNoWindow);
  const int64_t window = use_.Kept(config_.sliding_window);
  split.prefill_tokens += chunk.tokens;
  split.prefill_pairs += WindowPairs(chunk.past, chunk.tokens, keep);
  split.prefill_context += WindowContext(chunk.past, chunk.tokens, keep);
  if (window > 0) {
    split.prefill_pairs_window += WindowPairs(chunk.past, chunk.tokens, window);
    split.prefill_context_window += WindowContext(chunk.past, chunk.tokens, window);
  }
  const std::vector<KvBoundary>& boundaries =
      use_.stores[sequences_[chunk.slot].kv_store].boundaries;
  for (size_t b = 0; b < boundaries.size(); ++b) {
    split.prefill_older[b] += boundaries[b].Older(use_.Kept(chunk.past));
    const int64_t moved =
        boundaries[b].Older(chunk.past + chunk.tokens) - boundaries[b].Older(chunk.past);
    split.moved[b] += moved;
    split.chunk_moved[b] += moved;
  }
}

void Scheduler::AppendSpans(std::vector<RoutedSpan>& spans) const {
  decodes_.AppendSpans(spans);
  for (const Chunk& chunk : chunks_) AppendChunkSpans(chunk, spans);
}

void Scheduler::AppendWork(std::vector<SequenceWork>& work) const {
  for (int64_t i = 0; i < decodes_.size(); ++i) {
    const DecodeSet::Member member = decodes_.at(i);
    work.push_back({.slot = member.slot,
                    .past = member.cached_tokens,
                    .tokens = 1,
                    .decodes = true,
                    .emits = true});
  }
  for (const Chunk& chunk : chunks_) {
    work.push_back({.slot = chunk.slot,
                    .past = chunk.past,
                    .tokens = chunk.tokens,
                    .emits = CompletesPrompt(chunk)});
  }
}

void Scheduler::AppendChunkSpans(const Chunk& chunk, std::vector<RoutedSpan>& spans) const {
  const Sequence& sequence = sequences_[chunk.slot];
  const int64_t end = chunk.past + chunk.tokens;
  const int64_t input = sequence.record.input_tokens;
  const int64_t prompt_end = std::min(end, input);
  if (chunk.past < prompt_end) {
    spans.push_back({.sequence = sequence.routing,
                     .phase = RoutingPhase::kPrefill,
                     .first_row = chunk.past,
                     .rows = prompt_end - chunk.past});
  }
  const int64_t generated_begin = std::max(chunk.past, input);
  if (generated_begin < end) {
    spans.push_back({.sequence = sequence.routing,
                     .phase = RoutingPhase::kDecode,
                     .first_row = generated_begin - input,
                     .rows = end - generated_begin});
  }
}

RoutedSpan Scheduler::DecodedRows(const DecodeSet::Member& member) const {
  // The record still says how many tokens were generated when the sequence began to decode.
  const int64_t first = sequences_[member.slot].record.generated_tokens - 1;
  return {.sequence = member.routing,
          .phase = RoutingPhase::kDecode,
          .first_row = first,
          .rows = member.decode_row - first};
}

void Scheduler::FinishStep(Time now, StepOutcome& outcome) {
  SIM_CHECK(step_in_flight_);
  step_in_flight_ = false;
  FinishDecodes(now, outcome);
  std::optional<Chunk> unfinished;
  for (const Chunk& chunk : chunks_) {
    AppendChunkSpans(chunk, outcome.executed);
    if (CompletesPrompt(chunk)) {
      EmitFromChunk(chunk, now, outcome);
    } else {
      unfinished = {.slot = chunk.slot, .past = chunk.past + chunk.tokens, .tokens = 0};
    }
  }
  chunks_.clear();
  if (unfinished) chunks_.push_back(*unfinished);
}

void Scheduler::FinishDecodes(Time now, StepOutcome& outcome) {
  leaving_.clear();
  decodes_.Advance(leaving_);
  for (const DecodeSet::Member& member : leaving_) {
    outcome.executed.push_back(DecodedRows(member));
    Leave(member.slot, now, outcome);
  }
}

void Scheduler::EmitFromChunk(const Chunk& chunk, Time now, StepOutcome& outcome) {
  Sequence& sequence = sequences_[chunk.slot];
  RequestRecord& record = sequence.record;
  if (record.generated_tokens == 0) {
    record.first_token = now;
  } else {
    outcome.late_gaps.push_back(now - sequence.last_token);
  }
  ++record.generated_tokens;
  if (record.generated_tokens == record.output_tokens) {
    Leave(chunk.slot, now, outcome);
    return;
  }
  decodes_.Join({.slot = chunk.slot,
                 .cached_tokens = chunk.past + chunk.tokens,
                 .tokens_left = record.output_tokens - record.generated_tokens,
                 .decode_row = record.generated_tokens - 1,
                 .routing = sequence.routing,
                 .kv_store = sequence.kv_store});
}

void Scheduler::Leave(uint32_t slot, Time now, StepOutcome& outcome) {
  const Sequence& sequence = sequences_[slot];
  kv_.Release(BlocksFor(sequence, sequence.peak_tokens()));
  RequestRecord& record = outcome.records.emplace_back(sequence.record);
  record.outcome = RequestOutcome::kFinished;
  record.finish = now;
  record.generated_tokens = record.output_tokens;
  free_slots_.push_back(slot);
}

int64_t Scheduler::CountHeldBlocks() const {
  int64_t blocks = 0;
  const int64_t reserved = step_in_flight_ ? 1 : 0;  // per decode, for the token being computed
  for (int64_t i = 0; i < decodes_.size(); ++i) {
    const DecodeSet::Member member = decodes_.at(i);
    blocks += use_.BlocksFor(member.kv_store, member.cached_tokens + reserved);
  }
  for (const Chunk& chunk : chunks_) {
    blocks += BlocksFor(sequences_[chunk.slot], chunk.past + chunk.tokens);
  }
  return blocks;
}

void Scheduler::Abandon(StepOutcome& outcome) {
  const auto abandon = [&](uint32_t slot, int64_t generated) {
    RequestRecord& record = outcome.records.emplace_back(sequences_[slot].record);
    record.outcome = RequestOutcome::kUnfinished;
    record.generated_tokens = generated;
  };
  for (int64_t i = 0; i < decodes_.size(); ++i) {
    const DecodeSet::Member member = decodes_.at(i);
    if (const RoutedSpan rows = DecodedRows(member); rows.rows > 0) {
      outcome.executed.push_back(rows);
    }
    abandon(member.slot, sequences_[member.slot].record.output_tokens - member.tokens_left);
  }
  for (const Chunk& chunk : chunks_) {
    abandon(chunk.slot, sequences_[chunk.slot].record.generated_tokens);
  }
  for (const uint32_t slot : waiting_) abandon(slot, sequences_[slot].record.generated_tokens);
}

}  // namespace moecast
