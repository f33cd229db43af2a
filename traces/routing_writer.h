// Writes the canonical routing trace; complete on Commit or absent.
#pragma once

#include <filesystem>
#include <memory>

#include "sim/base/result.h"
#include "traces/routing_chunk.h"

namespace moecast {

class RoutingWriter {
 public:
  static Result<RoutingWriter> Create(const std::filesystem::path& path, const RoutingHeader& header);
  RoutingWriter(RoutingWriter&&) noexcept;
  RoutingWriter& operator=(RoutingWriter&&) noexcept;
  ~RoutingWriter();

  /// REQUIRES: shapes match the header; chunks of a sequence come in order.
  Status Add(const RoutingChunk& chunk);
  Status Commit();

 private:
  struct State;
  explicit RoutingWriter(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace moecast
