// DecodeSet: the sequences of one group that are past their prompt, in order of admission. Every
// step gives each of them one token, so a common tick stands for all their progress: a member's
// cached tokens are tick + offset, its end is a tick, and the KV blocks due are counted by offset
// modulo the block size. A step therefore costs O(1), and O(members) only when someone finishes or
// where the cache is more than one format of every token (KvUse::plain is false).
#pragma once

#include <cstdint>
#include <vector>

#include "sim/base/ids.h"
#include "sim/engine/kv_use.h"
#include "sim/model/step_shape.h"
#include "sim/replay/routing_source.h"

namespace moecast {

class DecodeSet {
 public:
  /// A sequence as it stands between two steps.
  struct Member {
    uint32_t slot = 0;          // the owner's name for the sequence
    int64_t cached_tokens = 0;  // in the KV cache; 0: its next token attends to itself alone
    int64_t tokens_left = 0;    // still to be generated, >= 1
    int64_t decode_row = 0;     // index of the generated token that the next step feeds in
    SequenceId routing{};       // trace sequence that the request replays
    uint8_t kv_store = 0;       // which way of keeping it (KvUse::stores)
    friend bool operator==(const Member&, const Member&) = default;
  };
  struct Config {
    KvUse kv{};
    int64_t sliding_window = 0;  // 0: none
  };
  explicit DecodeSet(Config config);

  /// Adds a member as the most recently admitted. COST: O(1).
  void Join(const Member& member);
  /// Removes the most recently admitted. REQUIRES: not empty. COST: O(members).
  Member PopNewest();
  /// Ends a step: every member gains a token. Those with none left leave, appended to `finished` in
  /// order of admission with tokens_left 0. COST: O(1), O(members) when someone finishes.
  void Advance(std::vector<Member>& finished);

  [[nodiscard]] int64_t size() const { return static_cast<int64_t>(slots_.size()); }
  [[nodiscard]] Member at(int64_t index) const;
  /// Keeps a member in another KV store from now on. COST: O(1).
  void MoveTo(int64_t index, uint8_t kv_store);
  /// Members whose next token does not fit their last KV block. REQUIRES: all have cached tokens.
  [[nodiscard]] int64_t BlocksDue() const;
  /// Kept tokens that the next step's queries attend to, the new ones included.
  [[nodiscard]] int64_t Context() const;
  /// The largest term of Context(); 0 without members.
  [[nodiscard]] int64_t Longest() const {
    return slots_.empty() ? 0 : config_.kv.Kept(tick_ + 1 + longest_offset_);
  }
  /// Same as Context(), each member's cut to the sliding window. COST: O(members), vectorised.
  [[nodiscard]] int64_t WindowContext() const;
  /// Adds the attention work of the next step. COST: O(1), O(members) when kv.plain is false.
  void AddLoad(AttentionLoad& load) const;
  /// Appends one span of one row per member: the rows that the next step routes.
  void AppendSpans(std::vector<RoutedSpan>& spans) const;

 private:
  [[nodiscard]] size_t BlockPhase(uint8_t kv_store, int64_t offset) const;
  /// The phase of members that need a block now.
  [[nodiscard]] size_t DuePhase(size_t kv_store) const;
  /// Context() with each member's term cut to `most`. COST: O(members), vectorised.
  [[nodiscard]] int64_t ContextUpTo(int64_t most) const;
  void AddKvLoad(AttentionLoad& load) const;
  /// Finds next_finish_ and longest_offset_ anew. COST: O(members).
  void RefreshExtremes();

  Config config_;
  int64_t tick_ = 0;
  int64_t offset_sum_ = 0;
  int64_t next_finish_ = 0;     // smallest finish tick; meaningless when empty
  int64_t longest_offset_ = 0;  // largest offset; meaningless when empty
  // Structure of arrays, one entry per member.
  std::vector<uint32_t> slots_;
  std::vector<int64_t> offset_;       // cached tokens - tick
  std::vector<int64_t> finish_tick_;  // tick at which no token is left
  std::vector<int64_t> row_offset_;   // decode row - tick
  std::vector<SequenceId> routing_;
  std::vector<uint8_t> kv_store_;
  std::vector<std::vector<int64_t>> due_;  // [store][phase] members by when they need a block
};

}  // namespace moecast
