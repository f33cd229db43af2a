// KernelRow: one measured time of one kernel launch, whoever measured it. Importers and the reader
// of our own measurements produce it; hygiene and fits consume it.
#pragma once

#include <string>

#include "sim/cost/kernel_features.h"

namespace moecast::calibration {

/// Where a row stands, for messages: "file:line".
struct RowSource {
  std::string file{};
  int line = 0;  // from 1, the header included
  [[nodiscard]] std::string Text() const { return file + ":" + std::to_string(line); }
};

/// (op, variant, format) name a kernel: rows of one kernel are fitted together, rows of two never.
struct KernelRow {
  std::string
      op{};  // sim/cost/kernel_form.h: "gate_up", "experts", "gemm", "decode_attention", ...
  std::string variant{};  // implementation or tactic; "" when the source has one
  std::string
      format{};         // of weights, or of the cache for attention: "bf16", "fp8", "int4_g32", ...
  std::string label{};  // what a person calls the shape and load, for reports: "Mixtral-8x7B even"
  std::string rule{};   // of expert selection, by SelectionName; "" where none is stated
  KernelFeatures features{};  // kBytes and kFlops included when the source states them
  double time_ns = 0;         // of one launch, median over samples
  double spread_ns = 0;       // 95th less 5th percentile over samples; 0: not stated
  double warm_ratio = 0;      // part of the bytes that caches may have held, in [0, 1]
  std::string gpu{};          // card: "h200_sxm"
  std::string engine{};       // "" for our kernels, else "vllm-0.24.0", ...
  RowSource source{};
};

}  // namespace moecast::calibration
