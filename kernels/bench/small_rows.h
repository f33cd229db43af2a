// What the suites of small ops share: buffers, and rows described by op, model, regime and tokens.
#pragma once

#include <cuda_bf16.h>

#include <cstdint>
#include <string>

#include "kernels/bench/fill.h"
#include "kernels/harness/device_buffer.h"
#include "kernels/harness/measurement.h"
#include "kernels/harness/stream.h"

namespace moecast::kernels {

/// A row without a rule.
inline Measurement DescribeSmall(const std::string& op, const std::string& model,
                                 const std::string& regime, int32_t tokens) {
  Measurement row;
  row.op = op;
  row.model = model;
  row.regime = regime;
  row.rule = "-";
  row.tokens = tokens;
  return row;
}

/// What these ops read was just written by the op before: rows are warm.
inline void AllWarm(Measurement& row) { row.warm_ratio = 1; }

/// `elements` uniform numbers in [-scale, scale).
inline DeviceBuffer<__nv_bfloat16> Filled(double elements, float scale, uint64_t seed,
                                          const Stream& stream) {
  DeviceBuffer<__nv_bfloat16> buffer(static_cast<size_t>(elements));
  FillUniform(buffer.data(), buffer.size(), scale, seed, stream.get());
  stream.Synchronize();
  return buffer;
}

}  // namespace moecast::kernels
