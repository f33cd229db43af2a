// Imports routing from raw arrays of ids and scores, described by a small YAML file
// (docs/formats/routing.md, "Import descriptions"), into the canonical trace.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "sim/base/result.h"
#include "traces/routing_chunk.h"

namespace moecast {

/// Order of a sequence's block in a raw array, slowest index first.
enum class RawLayout { kTokenLayerK, kLayerTokenK };

/// A raw array of little-endian numbers; Zstandard when the name ends in .zst.
struct RawArray {
  std::filesystem::path path;
  size_t element_bytes = 1;  // 1 or 2
};

/// One sequence of the arrays, in their order.
struct ImportSequence {
  int64_t tokens = 0;
  int64_t first_position = 0;
  std::optional<int64_t> prompt_tokens = {};  // of them prefill, the rest decode; none: one phase
  RoutingSequence label = {};
  bool dropped = false;  // skipped over, leaves no sequence in the trace
};

struct RoutingImport {
  RoutingHeader header;
  RoutingPhase phase = RoutingPhase::kPrefill;  // of sequences without prompt_tokens
  RawArray ids;                                 // rows of top_k + further_ranks
  std::optional<RawArray> scores;
  RawLayout layout = RawLayout::kTokenLayerK;
  std::optional<uint16_t> unknown_id;  // in the ids: not recorded
  bool rank_by_score = false;          // rows are not best first, sort them
  std::vector<ImportSequence> sequences;
};

/// What the user adds to a description.
struct RoutingImportOptions {
  std::filesystem::path data;  // folder of the description's paths; empty: the description's own
  std::vector<std::pair<std::string, std::string>> drop;  // CSV column and value to leave out
};

/// Reads a description and the sequence lengths it points to. ERRORS: all of them at once, with
/// file:line:column.
Result<RoutingImport> LoadRoutingImport(const std::filesystem::path& description,
                                        const RoutingImportOptions& options);

/// What an import did.
struct RoutingImportNotes {
  int64_t sequences = 0;
  int64_t tokens = 0;
  int64_t dropped_sequences = 0;
  int64_t dropped_tokens = 0;
  uint64_t unknown_rows = 0;
};

/// Called now and then with tokens done and tokens in all.
using ImportProgress = std::function<void(int64_t, int64_t)>;

/// Reads the arrays and writes the trace. Memory is one block: about 2^20 ids, or one sequence with
/// layout layer_token_k. ERRORS: a missing file, sizes that do not match, ids out of range or
/// repeated in a row (which sequence, token and layer); the trace is then not written.
Result<RoutingImportNotes> ImportRouting(const RoutingImport& import,
                                         const std::filesystem::path& trace,
                                         const ImportProgress& progress);

}  // namespace moecast
