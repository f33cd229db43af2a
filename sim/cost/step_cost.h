// StepCost: how long one step of one replica takes, and how much of that was measured.
// This is the analytic model: roofline with stated efficiencies, launch overhead, alpha-beta
// collectives, host overhead. Everything it predicts is labelled analytic.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "sim/base/units.h"
#include "sim/cost/efficiency.h"
#include "sim/model/hardware.h"
#include "sim/model/lower.h"

namespace moecast {

/// Where a predicted time comes from, best first.
enum class Label { kMeasured, kInterpolated, kExtrapolated, kAnalytic };
inline constexpr int kLabelCount = 4;
std::string_view LabelName(Label label);

/// A step's time and its parts. Parts add up to `total` before rounding.
struct StepTime {
  Duration total{1};
  Seconds attention;
  Seconds experts;      // routing and routed experts
  Seconds dense;        // every other GEMM and elementwise op
  Seconds collectives;
  Seconds host;         // scheduling and launch not hidden behind the GPU
  std::array<Seconds, kLabelCount> by_label{};
};

/// One line of `moecast explain`: an op, its arithmetic and its time.
struct OpLine {
  std::string name;
  std::string shape;      // human-readable dimensions
  int64_t count = 1;      // times per step
  Bytes bytes;            // per execution
  Flops flops;            // per execution
  Seconds memory_bound;   // bytes / (peak bandwidth * efficiency)
  Seconds compute_bound;  // flops / (peak rate * efficiency)
  Seconds each;           // predicted, per execution
  Seconds all;            // predicted, count executions
  std::string_view bound; // "memory", "compute", "latency"
  Label label = Label::kAnalytic;
};

/// Pure: no clock, no randomness, no allocation after the first calls. One per simulator.
class StepCost {
 public:
  /// REQUIRES: `model` outlives this object.
  StepCost(const ModelSpec& model, const Parallelism& parallelism, const TensorFormat& kv,
           const DeviceSpec& device, const FabricSpec& fabric, const Efficiencies& efficiencies);

  /// RETURNS: at least 1 ns and at least the roofline bound (INV-6). COST: O(ops + MoE layers * ranks).
  StepTime Predict(const StepShape& step);
  /// The same arithmetic, op by op; MoE layers are merged into one line per op.
  std::vector<OpLine> Explain(const StepShape& step);

 private:
  Lowering lowering_;
  DeviceSpec device_;
  FabricSpec fabric_;
  Efficiencies efficiencies_;
  std::vector<CountedOp> ops_;  // reused from call to call
};

}  // namespace moecast
