// KvPages: which pages of the cache belong to which sequence. All layers share one numbering, so
// one table serves every pool. Pages are taken as a sequence grows and come back when it is absent
// from a step. Host memory only.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "sim/model/step_executor.h"

namespace moecast::kernels {

/// Pages of one kind: what a sequence takes is a function of its tokens.
struct PageCapacity {
  int32_t pages = 0;         // of a pool
  int32_t window_pages = 0;  // of the pool of bf16 windows; 0: the scheme has none
  int32_t window_per_sequence = 0;
};

class KvPages {
 public:
  explicit KvPages(const PageCapacity& capacity);

  /// Gives back the pages of sequences that the step leaves out or starts again, then takes what
  /// its sequences need for past + tokens.
  /// RETURNS: false when a pool has too few; the step cannot run then.
  bool Prepare(std::span<const SequenceWork> sequences);
  /// Most pages of a prepared sequence.
  [[nodiscard]] int32_t longest() const { return longest_; }
  /// Writes row i of a table [sequences][row_pages], unused entries 0. REQUIRES: row_pages >=
  /// longest(); the sequences are those prepared.
  void FillTable(std::span<const SequenceWork> sequences, int32_t row_pages,
                 std::span<int32_t> table) const;
  /// The same of the windows, [sequences][window_per_sequence].
  void FillWindowTable(std::span<const SequenceWork> sequences, std::span<int32_t> table) const;
  [[nodiscard]] int64_t free_pages() const { return static_cast<int64_t>(free_.size()); }

 private:
  struct Held {
    std::vector<int32_t> pages;
    std::vector<int32_t> window;
    bool present = false;  // in the step being prepared
  };
  void Release(Held& held);
  void ReleaseAbsent(std::span<const SequenceWork> sequences);
  static bool Take(size_t wanted, std::vector<int32_t>& from, std::vector<int32_t>& to);

  PageCapacity capacity_;
  std::vector<int32_t> free_;
  std::vector<int32_t> free_window_;
  std::map<uint32_t, Held> held_;  // by slot
  int32_t longest_ = 0;
};

}  // namespace moecast::kernels
