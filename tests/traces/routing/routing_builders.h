// Small routing traces for tests.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "sim/base/rng.h"
#include "traces/routing_chunk.h"
#include "traces/routing_reader.h"
#include "traces/routing_writer.h"

namespace moecast::test {

// Arguments are in the order of a shape.
// NOLINTNEXTLINE(bugprone-easily-swappable-parameters)
inline RoutingHeader MakeHeader(int32_t layers, int32_t experts, int32_t top_k,
                                bool has_scores = false) {
  RoutingHeader header;
  header.source = "test";
  header.model = "toy";
  for (int32_t layer = 0; layer < layers; ++layer) header.moe_layers.push_back(layer + 1);
  header.experts = experts;
  header.top_k = top_k;
  header.has_scores = has_scores;
  return header;
}

/// Random distinct ids, every `unknown_every`-th row unknown (0: none), and random scores.
inline RoutingChunk MakeChunk(const RoutingHeader& header, uint32_t sequence, RoutingPhase phase,
                              int64_t first_position, int64_t tokens, uint64_t unknown_every = 0) {
  RngStream rng(Seed{7}, "test/chunk",
                uint64_t{1000} * sequence + static_cast<uint64_t>(first_position));
  RoutingChunk chunk;
  chunk.sequence = SequenceId(sequence);
  chunk.phase = phase;
  chunk.first_position = first_position;
  chunk.tokens = tokens;
  const size_t rows = static_cast<size_t>(tokens) * header.moe_layers.size();
  std::vector<uint16_t> experts(static_cast<size_t>(header.experts));
  for (size_t i = 0; i < experts.size(); ++i) experts[i] = static_cast<uint16_t>(i);
  for (size_t row = 0; row < rows; ++row) {
    const bool unknown = unknown_every > 0 && row % unknown_every == unknown_every - 1;
    for (size_t rank = 0; rank < static_cast<size_t>(header.top_k); ++rank) {
      std::swap(experts[rank], experts[rank + rng.NextBelow(experts.size() - rank)]);
      chunk.ids.push_back(unknown ? kUnknownExpert : experts[rank]);
      if (header.has_scores) chunk.scores.push_back(static_cast<float>(rng.NextUniform()));
    }
  }
  return chunk;
}

/// Writes the chunks as a trace.
inline Status WriteTrace(const std::filesystem::path& path, const RoutingHeader& header,
                         const std::vector<RoutingChunk>& chunks) {
  SIM_TRY(RoutingWriter writer, RoutingWriter::Create(path, header));
  for (const RoutingChunk& chunk : chunks) SIM_RETURN_IF_ERROR(writer.Add(chunk));
  return writer.Commit();
}

/// All chunks of a trace, in file order.
inline Result<std::vector<RoutingChunk>> ReadTrace(const std::filesystem::path& path) {
  SIM_TRY(RoutingReader reader, RoutingReader::Open(path));
  std::vector<RoutingChunk> chunks;
  RoutingChunk chunk;
  while (true) {
    SIM_TRY(const bool more, reader.Next(chunk));
    if (!more) return chunks;
    chunks.push_back(chunk);
  }
}

}  // namespace moecast::test
