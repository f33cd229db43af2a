// Reads the canonical routing trace (docs/formats.md, "Routing trace") chunk by chunk.
#pragma once

#include <filesystem>
#include <memory>

#include "sim/base/result.h"
#include "traces/routing_chunk.h"

namespace moecast {

/// Sequential reader; memory is one chunk. Chunks of one sequence are in position order; prefill
/// before decode.
class RoutingReader {
 public:
  /// ERRORS: missing file, wrong magic or version, truncated or damaged header or footer.
  static Result<RoutingReader> Open(const std::filesystem::path& path);
  RoutingReader(RoutingReader&&) noexcept;
  RoutingReader& operator=(RoutingReader&&) noexcept;
  ~RoutingReader();

  [[nodiscard]] const RoutingHeader& header() const;
  /// Totals from the footer index, known before the first chunk is read.
  struct Totals { uint64_t sequences = 0, chunks = 0, prefill_tokens = 0, decode_tokens = 0, unknown_rows = 0; };
  [[nodiscard]] const Totals& totals() const;
  /// False at the end. ERRORS: a chunk fails its CRC (which chunk, at which byte offset), ids out
  /// of range, repeated experts in a row.
  Result<bool> Next(RoutingChunk& chunk);

 private:
  struct State;
  explicit RoutingReader(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace moecast
