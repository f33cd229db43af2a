// The two sets of captures that the importers are tested on, in one folder layout: the shared
// fixtures (one real routing in the layout of each engine) and a smaller set that
// make_captures.py writes, which also has replicated experts and decode passes.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "sim/base/files.h"
#include "tests/traces/routing/routing_builders.h"
#include "traces/import/capture.h"

namespace moecast::test {

/// A request of the routing: its tokens and how many of them are prompt.
struct CaptureRequest {
  size_t first = 0;
  size_t tokens = 0;
  size_t prompt = 0;
};

struct CaptureSet {
  const char* name;
  std::filesystem::path folder;
  CaptureModel model;
  std::vector<CaptureRequest> requests;
};

inline CaptureSet SmallCaptures() {
  return {"small",
          MOECAST_CAPTURES,
          {.name = "toy", .experts = 8, .top_k = 2, .layers = 4, .moe_layers = {1, 2, 3}},
          {{0, 6, 4}, {6, 4, 3}}};
}

inline CaptureSet SharedCaptures() {
  CaptureSet set{"shared",
                 std::filesystem::path(MOECAST_SHARED_DATA) / "trace_fixtures",
                 {.name = "DeepSeek-V2-Lite", .experts = 64, .top_k = 6, .layers = 27},
                 {{0, 40, 28}, {40, 24, 16}}};
  for (int32_t layer = 1; layer < 27; ++layer) set.model.moe_layers.push_back(layer);
  return set;
}

/// The canonical answer: [token][MoE layer][k].
inline std::vector<uint16_t> CanonicalIds(const CaptureSet& set) {
  const std::string bytes = ReadFile(set.folder / "canonical_ids.npy").value();
  constexpr size_t kHeaderStep = 64;
  const size_t header = (bytes.find('\n') / kHeaderStep + 1) * kHeaderStep;
  std::vector<uint16_t> ids;
  for (const char id : bytes.substr(header)) ids.push_back(static_cast<unsigned char>(id));
  return ids;
}

}  // namespace moecast::test
