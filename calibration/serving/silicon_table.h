// SiliconTable: measured serving points as aiconfigurator publishes them (silicon_sample.csv)
// [AIC], grouped by the engine that ran them. docs/formats/calibration_sources.md.
#pragma once

#include <string>
#include <vector>

#include "calibration/serving/serving_point.h"
#include "sim/base/result.h"

namespace moecast::serving {

/// A row of the table with what groups it.
struct SiliconRow {
  ServingPoint point{};  // overrides: GPU and parallelism
  std::string id;
  std::string engine;     // "vllm-0.18.0"; with the day it was measured when no version is stated
  std::string model;      // "openai/gpt-oss-120b"
  std::string system;     // "h200_sxm"
  std::string suspect{};  // why the row's own figures cannot all hold; empty when they can
  int64_t gpus = 1;
};

/// Every row. InferenceX's rows with expert parallelism state its tensor-parallel size as both
/// expert-tensor and expert-parallel size, and the product as tensor-parallel size; their latencies
/// are those of that many GPUs, not of its square, and are read so. A row without concurrency has
/// its batch size's.
/// ERRORS: a missing column, no number, with file:line: column.
Result<std::vector<SiliconRow>> ParseSiliconTable(const std::string& text, const std::string& name);

}  // namespace moecast::serving
