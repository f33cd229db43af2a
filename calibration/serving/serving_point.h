// ServingPoint: one measured operating point of a serving engine: a closed loop of requests and the
// latencies its clients saw. Readers of benchmark outputs produce it.
// docs/formats/calibration_sources.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "sim/base/result.h"

namespace moecast::serving {

/// What a figure of a benchmark summarises its requests by.
enum class Statistic { kMean, kMedian };

struct ServingPoint {
  std::string where{};  // "file:line", or the file
  int64_t concurrency = 0;
  double input_tokens = 0;   // mean length of a prompt
  double output_tokens = 0;  // mean length of an output
  double length_ratio = 1;   // shortest over longest, drawn uniformly; 1: all alike
  int64_t requests = 0;      // measured; 0: not stated
  int64_t warmup = 0;        // sent before those that are measured
  std::optional<double> ttft_s{};
  std::optional<double> tpot_s{};
  Statistic statistic = Statistic::kMean;
  /// Scenario fields of this point, "path=value" as in --set: "cluster.parallelism.tensor=4".
  std::vector<std::string> overrides{};

  [[nodiscard]] int observations() const { return (ttft_s ? 1 : 0) + (tpot_s ? 1 : 0); }
};

/// Every point of a file, in its order. The format is told by the content: `vllm bench serve` JSON,
/// SGLang's bench_serving JSONL, aiperf (genai-perf) JSON, InferenceX agg_*.json, or a CSV with the
/// columns concurrency, input_tokens, output_tokens, ttft_ms, tpot_ms and, if need be, requests,
/// length_ratio, statistic ("mean" or "median") and "set:PATH" for a scenario field.
/// ERRORS: unreadable; none of these formats (says what each needs); missing fields, wrong types or
/// ranges, an open-loop run; each with file:line: field.
Result<std::vector<ServingPoint>> ReadServingPoints(const std::filesystem::path& file);
Result<std::vector<ServingPoint>> ParseServingPoints(const std::string& text,
                                                     const std::string& name);

}  // namespace moecast::serving
