// Count tables: how many tokens each expert got, per pass or in all. What captures give that do not
// keep tokens; enough to study placements and imbalance, not to replay. docs/formats/
// routing_sources.md, "Count tables".
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "sim/base/files.h"
#include "sim/base/result.h"
#include "traces/routing_chunk.h"

namespace moecast {

/// Counts of one forward pass, one sequence or one recording.
struct ExpertCounts {
  std::string pass = {};                   // its name in the capture
  std::optional<RoutingPhase> phase = {};  // none: mixed or not recorded
  std::vector<uint64_t> counts = {};       // [MoE layer][expert]
};

/// What all passes of a table share.
struct CountShape {
  std::vector<int32_t> moe_layers = {};
  int64_t experts = 0;
  friend bool operator==(const CountShape&, const CountShape&) = default;
};

/// Writes a table row by row; complete on Commit or absent. Memory is one pass.
class CountTableWriter {
 public:
  static Result<CountTableWriter> Create(const std::filesystem::path& path, CountShape shape);
  /// REQUIRES: the shape. ERRORS: a full disk.
  Status Add(const ExpertCounts& counts);
  /// ERRORS: no passes were added; a full disk.
  Status Commit();
  [[nodiscard]] int64_t passes() const { return passes_; }

 private:
  CountTableWriter(AtomicFile file, CountShape shape);
  AtomicFile file_;
  CountShape shape_;
  int64_t passes_ = 0;
  std::string text_;
};

/// A whole table.
struct CountTable {
  CountShape shape = {};
  std::vector<ExpertCounts> passes = {};
};
/// Reads a table that CountTableWriter wrote. ERRORS: with the line: another header, columns or
/// layers missing, a value that is no count, more than kMaxCountTableCells.
Result<CountTable> ReadCountTable(const std::filesystem::path& path);
inline constexpr int64_t kMaxCountTableCells = int64_t{1} << 28;

}  // namespace moecast
