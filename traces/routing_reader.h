// Reads the canonical routing trace (docs/formats/routing.md) chunk by chunk.
#pragma once

#include <cstdint>
#include <filesystem>
#include <iosfwd>
#include <memory>
#include <string>
#include <vector>

#include "sim/base/result.h"
#include "traces/routing_chunk.h"

namespace moecast {

/// Sequential reader; memory is one chunk and the index, and no damaged size can make it more.
/// Sequences are numbered from 0 in file order. Chunks of one sequence are in position order,
/// prefill before decode; a sequence may have many.
class RoutingReader {
 public:
  /// ERRORS: missing file, wrong magic or version, truncated or damaged header or footer.
  static Result<RoutingReader> Open(const std::filesystem::path& path);
  /// The same from any seekable stream; `name` stands for the path in errors.
  static Result<RoutingReader> Open(std::unique_ptr<std::istream> stream, std::string name);
  RoutingReader(RoutingReader&&) noexcept;
  RoutingReader& operator=(RoutingReader&&) noexcept;
  ~RoutingReader();

  [[nodiscard]] const RoutingHeader& header() const;
  /// Totals from the footer index, known before the first chunk is read.
  struct Totals {
    uint64_t sequences = 0;
    uint64_t chunks = 0;
    uint64_t prefill_tokens = 0;
    uint64_t decode_tokens = 0;
    uint64_t unknown_rows = 0;  // (token, MoE layer) pairs that were not recorded
  };
  [[nodiscard]] const Totals& totals() const;
  /// [sequence] labels, empty ones where the trace has none.
  [[nodiscard]] const std::vector<RoutingSequence>& sequences() const;
  /// False at the end. ERRORS: a chunk fails its CRC (which chunk, at which byte offset), differs
  /// from the index, has ids out of range or repeated in a row.
  Result<bool> Next(RoutingChunk& chunk);

 private:
  struct State;
  explicit RoutingReader(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace moecast
