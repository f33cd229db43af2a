// What a serving engine's JSON response says about the routing of its request.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "sim/base/result.h"
#include "traces/formats/array_ref.h"
#include "traces/formats/tree.h"
#include "traces/routing_chunk.h"

namespace moecast {

/// The routing of one generated answer, still encoded.
struct ResponseRouting {
  std::string layout = {};  // "vLLM response"
  std::string field = {};   // "choices[0].routed_experts"
  RoutingSequence label = {};
  TreeValue rows = {};                   // base64 text or nested lists
  std::optional<TreeValue> prompt_rows;  // vLLM 0.21: the prompt's, apart
  std::optional<int64_t> prompt_tokens;
  std::optional<int64_t> completion_tokens;
  std::optional<int64_t> first_token;         // stated by the response
  std::optional<std::vector<int64_t>> shape;  // of raw bytes, where stated
  ElementType raw_type = ElementType::kI32;   // of raw bytes
};

/// What is in one response.
struct ResponseContent {
  std::vector<ResponseRouting> routings = {};
  int64_t without_routing = 0;  // answers that have none: aborted requests
};

/// ERRORS: a document without answers, a field of the wrong kind; without a place.
Result<ResponseContent> ReadResponse(const Tree& tree, const TreeValue& document);

}  // namespace moecast
