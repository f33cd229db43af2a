// PrefillBench: the device buffers of one MoE layer in the compute-bound form and its launches. One
// copy of the weights: a launch reads all of them, many times what L2 holds.
#pragma once

#include <cuda_bf16.h>

#include <cstdint>
#include <vector>

#include "kernels/harness/device_buffer.h"
#include "kernels/harness/expert_load.h"
#include "kernels/harness/reference_data.h"
#include "kernels/harness/stream.h"
#include "kernels/ops/expert_prefill/expert_prefill.h"
#include "kernels/ops/route/route.h"

namespace moecast::kernels {

/// Random weights of one model in one format, router included.
class PrefillWeightPool {
 public:
  PrefillWeightPool(const ModelShape& model, WeightFormat format, const Stream& stream);

  [[nodiscard]] const ModelShape& model() const { return model_; }
  [[nodiscard]] WeightFormat format() const { return format_; }
  [[nodiscard]] PrefillWeights view() const;
  [[nodiscard]] const __nv_bfloat16* router() const { return router_.data(); }
  /// nullptr where the model's router has none.
  [[nodiscard]] const float* bias() const { return bias_.data(); }

 private:
  ModelShape model_;
  WeightFormat format_;
  DeviceBuffer<uint8_t> gate_up_;
  DeviceBuffer<uint8_t> down_;
  DeviceBuffer<uint8_t> gate_up_scale_;
  DeviceBuffer<uint8_t> down_scale_;
  DeviceBuffer<__nv_bfloat16> router_;
  DeviceBuffer<float> bias_;
};

class PrefillBench {
 public:
  PrefillBench(const PrefillWeightPool& weights, int32_t tokens, const Stream& stream);

  /// Routes once, so that the other launches can be timed alone and the load is known.
  void PrepareRouted(const SkipRule& rule);
  /// Writes the slots of DrawZipfSlots.
  void PrepareZipf(double exponent, int32_t kept);

  void Route() const;
  void Permute() const;
  void GateUp() const;
  void Down() const;
  void Combine() const;
  // The first rung, bf16 only.
  void NaiveGateUp() const;
  void NaiveDown() const;
  /// Router to combine.
  void Layer() const;

  [[nodiscard]] const ExpertShape& shape() const { return shape_; }
  [[nodiscard]] WeightFormat format() const { return weights_.format(); }
  /// Rows of an expert are padded to kPrefillTileRows here.
  [[nodiscard]] const ExpertLoad& load() const { return load_; }
  /// Bytes of the expert weights a launch of both products reads.
  [[nodiscard]] double weight_bytes() const;

 private:
  void ReadLoad();
  [[nodiscard]] RouteBuffers Buffers() const;
  [[nodiscard]] ExpertSlots Slots() const;
  [[nodiscard]] PrefillRows Rows(const DeviceBuffer<uint8_t>& values,
                                 const DeviceBuffer<float>& scales) const;

  const PrefillWeightPool& weights_;
  const Stream& stream_;
  ExpertShape shape_;
  RoutingRule rule_;
  ExpertLoad load_;
  DeviceBuffer<float> partial_logits_;
  DeviceBuffer<float> weight_of_slot_;  // [T * k]
  DeviceBuffer<int32_t> slots_;         // [3 * T * k]
  DeviceBuffer<int32_t> experts_;       // [2 * E + 2]
  DeviceBuffer<__nv_bfloat16> tokens_;  // [T, H]
  DeviceBuffer<uint8_t> x_;             // [T * k, H] of the format
  DeviceBuffer<float> x_scale_;         // fp8_block
  DeviceBuffer<uint8_t> act_;           // [T * k, I] of the format
  DeviceBuffer<float> act_scale_;       // fp8_block
  DeviceBuffer<__nv_bfloat16> y_;       // [T * k, H]
  DeviceBuffer<__nv_bfloat16> out_;     // [T, H]
};

// Compulsory bytes and operations of one launch, as docs/kernels.md states them.
Traffic PermuteTraffic(const ExpertShape& shape, const ExpertLoad& load, WeightFormat format);
Traffic PrefillGateUpTraffic(const ExpertShape& shape, const ExpertLoad& load, WeightFormat format);
Traffic PrefillDownTraffic(const ExpertShape& shape, const ExpertLoad& load, WeightFormat format);
/// Router to combine.
Traffic PrefillLayerTraffic(const ExpertShape& shape, const ExpertLoad& load, WeightFormat format);

}  // namespace moecast::kernels
