#include <algorithm>
#include <string>
#include <utility>

#include "sim/base/check.h"
#include "sim/base/text.h"
#include "sim/policy/experts/ranked_batch.h"
#include "sim/replay/replay_table.h"

namespace moecast {
namespace {

std::string PhaseName(RoutingPhase phase) {
  return phase == RoutingPhase::kPrefill ? "prefill" : "decode";
}

}  // namespace

ReplayTable::Builder::Builder(const RoutingHeader& header, ExpertSelection selection,
                              int64_t resident_bytes)
    : table_(header, resident_bytes),
      rule_(std::move(selection)),
      running_(table_.layout_, BestCounterKernels()) {
  SIM_CHECK(!header.moe_layers.empty());
  SIM_CHECK(header.top_k >= 1 && header.experts >= header.top_k);
}

Result<ReplayTable::Part*> ReplayTable::Builder::PartOf(const RoutingChunk& chunk) {
  const auto [entry, is_new] =
      numbers_.try_emplace(chunk.sequence, static_cast<uint32_t>(table_.sequences_.size()));
  if (is_new) table_.sequences_.emplace_back();
  Part& part = table_.sequences_[entry->second.value()][static_cast<size_t>(chunk.phase)];
  if (part.count > 0 && part.first + part.count != table_.store_.size()) {
    return Error{"routing trace: the " + PhaseName(chunk.phase) + " rows of sequence " +
                     std::to_string(chunk.sequence.value()) +
                     " are not adjacent; write each sequence's rows of one phase together",
                 table_.header_.source};
  }
  if (part.count == 0) {
    part = {.first = table_.store_.size(), .count = 0, .checkpoint = table_.checkpoints_.size()};
  }
  return &part;
}

Status ReplayTable::Builder::Add(const RoutingChunk& chunk) {
  const size_t cells = static_cast<size_t>(chunk.tokens * table_.layout_.moe_layers) *
                       static_cast<size_t>(table_.header_.top_k);
  SIM_CHECK(chunk.ids.size() == cells);
  SIM_CHECK(chunk.scores.size() == (table_.header_.has_scores ? cells : 0));
  if (chunk.tokens == 0) return Ok();
  SIM_TRY(Part * part, PartOf(chunk));
  const bool added =
      std::visit([&](const auto& rule) { return AddRows(rule, chunk, *part); }, rule_);
  if (!added) return TooLarge(chunk);
  return Ok();
}

/// RETURNS: false when memory and temporary disk are exhausted.
template <class Rule>
bool ReplayTable::Builder::AddRows(const Rule& rule, const RoutingChunk& chunk, Part& part) {
  for (int64_t token = 0; token < chunk.tokens; ++token) {
    if (part.count % kCheckpointRows == 0 && !AddCheckpoint()) return false;
    Line* row = table_.store_.Append();
    if (row == nullptr) return false;
    FillRow(rule, chunk, token, row);
    running_.AddRow(row);
    ++part.count;
  }
  return true;
}

template <class Rule>
void ReplayTable::Builder::FillRow(const Rule& rule, const RoutingChunk& chunk, int64_t token,
                                   Line* row) {
  const auto top_k = static_cast<size_t>(table_.header_.top_k);
  bool unknown = false;
  for (int64_t layer = 0; layer < table_.layout_.moe_layers; ++layer) {
    const size_t first = static_cast<size_t>(token * table_.layout_.moe_layers + layer) * top_k;
    if (chunk.ids[first] == kUnknownExpert) {
      unknown = true;
      continue;
    }
    GateRow gate{.moe_layer = layer, .scores = {}, .native_top_k = table_.header_.top_k};
    if (!chunk.scores.empty()) gate.scores = std::span(chunk.scores).subspan(first, top_k);
    const int64_t kept = rule.Kept(gate);
    SIM_CHECK(kept >= 1 && kept <= gate.native_top_k);  // INV-7
    for (size_t rank = 0; rank < static_cast<size_t>(kept); ++rank) {
      const uint16_t expert = chunk.ids[first + rank];
      SIM_CHECK(expert < table_.header_.experts);
      const int64_t position = layer * table_.layout_.stride() + expert;
      uint64_t& word = row[position / kBitsPerLine].words[position % kBitsPerLine / 64];
      const uint64_t bit = uint64_t{1} << (position % 64);
      SIM_CHECK((word & bit) == 0);  // INV-7: a repeated expert would be lost
      word |= bit;
    }
    AddSelected(chunk, first, kept);
  }
  if (unknown) unknown_rows_.push_back(table_.store_.size() - 1);
}

void ReplayTable::Builder::AddSelected(const RoutingChunk& chunk, size_t first, int64_t kept) {
  ++known_;
  kept_ += kept;
  changed_ += kept < table_.header_.top_k ? 1 : 0;
  if (chunk.scores.empty()) return;
  for (int64_t rank = 0; rank < table_.header_.top_k; ++rank) {
    const double score = chunk.scores[first + static_cast<size_t>(rank)];
    native_mass_ += score;
    if (rank < kept) kept_mass_ += score;
  }
}

/// Stores the running counts of all rows so far. RETURNS: false as AddRows.
bool ReplayTable::Builder::AddCheckpoint() {
  Line* const lines = table_.checkpoints_.Append();
  if (lines == nullptr) return false;
  auto* stored = reinterpret_cast<uint16_t*>(lines);
  for (const uint32_t count : running_.Counts()) *stored++ = static_cast<uint16_t>(count);
  return true;
}

Error ReplayTable::Builder::TooLarge(const RoutingChunk& chunk) const {
  const double row_bytes = static_cast<double>(table_.layout_.lines()) * sizeof(Line);
  const int64_t rows = table_.store_.size();
  return {"routing trace: memory and temporary disk are exhausted: " + std::to_string(rows) +
              " tokens at " + HumanBytes(row_bytes) + " each reached sequence " +
              std::to_string(chunk.sequence.value()) +
              "; use fewer sequences or fewer tokens per sequence",
          table_.header_.source};
}

void ReplayTable::Builder::NoteSelection() {
  SelectionNotes& notes = table_.selection_;
  notes.native_top_k = static_cast<double>(table_.header_.top_k);
  if (known_ == 0) return;
  const auto known = static_cast<double>(known_);
  notes.mean_kept = static_cast<double>(kept_) / known;
  notes.changed_share = static_cast<double>(changed_) / known;
  notes.changed_experts = notes.native_top_k - notes.mean_kept;
  if (native_mass_ <= 0) return;
  notes.kept_gate_mass = kept_mass_ / native_mass_;
  notes.native_mass = native_mass_ / known * ScoreWeight(1);
}

Result<ReplayTable> ReplayTable::Builder::Finish() && {
  if (table_.store_.size() == 0) {
    return Error{"routing trace: it has no rows; nothing can be replayed", table_.header_.source};
  }
  if (!AddCheckpoint()) {
    return Error{"routing trace: memory and temporary disk are exhausted", table_.header_.source};
  }
  if (!unknown_rows_.empty()) {
    auto& before = table_.unknown_before_;
    before.assign(static_cast<size_t>(table_.store_.size()) + 1, 0);
    for (const int64_t row : unknown_rows_) ++before[static_cast<size_t>(row) + 1];
    for (size_t i = 1; i < before.size(); ++i) before[i] += before[i - 1];
  }
  NoteSelection();
  return std::move(table_);
}

}  // namespace moecast
