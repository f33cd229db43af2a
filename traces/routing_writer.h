// Writes the canonical routing trace (docs/formats/routing.md); complete on Commit or absent.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>

#include "sim/base/result.h"
#include "traces/routing_chunk.h"

namespace moecast {

/// Memory is one chunk of the file plus its index, about 50 bytes per chunk.
class RoutingWriter {
 public:
  /// ERRORS: the header is not a usable one, the file cannot be created.
  static Result<RoutingWriter> Create(const std::filesystem::path& path,
                                      const RoutingHeader& header);
  RoutingWriter(RoutingWriter&&) noexcept;
  RoutingWriter& operator=(RoutingWriter&&) noexcept;
  ~RoutingWriter();

  /// Appends `chunk`, cut into chunks of about a megabyte of ids. REQUIRES: shapes match the
  /// header. ERRORS: an id out of range or twice in a row, a score that does not fit, sequences not
  /// numbered from 0 in order, positions that go back, a full disk. After an error only destruction
  /// is left.
  Status Add(const RoutingChunk& chunk);
  /// Labels the sequence; any time after its first chunk and before Commit.
  void Describe(SequenceId sequence, RoutingSequence description);
  /// Writes the index and puts the file in place. ERRORS: as of AtomicFile.
  Status Commit();

  [[nodiscard]] uint64_t unknown_rows() const;

 private:
  struct State;
  explicit RoutingWriter(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace moecast
