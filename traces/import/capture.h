// Imports captures of expert routing as engines write them (docs/formats/routing_sources.md). The
// layout is told from the content. Captures of tokens become a routing trace; captures that only
// count stay counts and become a count table.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "sim/base/result.h"
#include "traces/import/capture_options.h"

namespace moecast {

/// How much a capture knows.
enum class RoutingLevel {
  kPerToken,       // every token's experts in every layer: can be replayed
  kPassCounts,     // tokens per expert of each pass
  kTotalCounts,    // tokens per expert of a whole recording
  kPassActivation  // how many experts each pass used, not which
};
/// "per token", "counts per pass", "total counts", "activation per pass".
std::string_view Name(RoutingLevel level);

/// What an import saw and did.
struct CaptureReport {
  std::string layout = {};  // "vLLM response, base64 .npy"
  RoutingLevel level = RoutingLevel::kPerToken;
  std::vector<std::string> facts = {};  // what was inferred, assumed or left out, a sentence each
  int64_t files = 0;
  int64_t sequences = 0;  // kPerToken
  int64_t prefill_tokens = 0;
  int64_t decode_tokens = 0;
  uint64_t unknown_rows = 0;  // (token, MoE layer) pairs
  int64_t passes = 0;         // counts

  /// Adds a fact once.
  void Note(std::string fact);
};
/// The report as lines for a terminal.
std::string RenderText(const CaptureReport& report);

/// Imports `inputs`, files of one layout or one folder of TensorRT-LLM's, to `out`.
/// ERRORS: a layout that is not known, and everything wrong in the content, with file and byte;
/// `out` is then not written. Memory is bounded by one response, one pass or a block of tokens.
Result<CaptureReport> ImportCapture(const std::vector<std::filesystem::path>& inputs,
                                    const CaptureOptions& options,
                                    const std::filesystem::path& out);

}  // namespace moecast
