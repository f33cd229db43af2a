// Small valid values that tests alter. The numbers are chosen to be easy to compute with by hand;
// they describe no real model or GPU.
#pragma once

#include <cstdint>

#include "sim/model/hardware.h"
#include "sim/model/kv_plan.h"
#include "sim/model/model_spec.h"

namespace moecast::test {

/// Every token in codes of so many bits, without metadata.
inline KvScheme PlainKv(double bits, std::string name) {
  const KvSide side{.code = {.bits = bits}};
  return {.name = std::move(name), .layer = {.keys = side, .values = side}};
}

inline KvPlan Bf16Kv(const ModelSpec& model) { return PlanUniformKv(model, PlainKv(16, "bf16")); }

inline TensorFormat Bf16() {
  return {.name = "bf16", .stored_bits = 16, .compute = ComputeClass::kBf16};
}

/// Two dense layers: hidden 8, 4 heads of 2 over 2 KV heads, intermediate 16, vocabulary 32.
inline ModelSpec TinyDenseModel() {
  ModelSpec model;
  model.name = "tiny-dense";
  model.hidden = 8;
  model.vocabulary = 32;
  model.max_positions = 4096;
  model.attention = GqaAttention{.heads = 4, .kv_heads = 2, .head_dim = 2, .value_head_dim = 2};
  model.dense_intermediate = 16;
  model.layers.assign(2, LayerSpec{});
  model.formats = {.attention = Bf16(),
                   .dense_ffn = Bf16(),
                   .experts = Bf16(),
                   .embeddings = Bf16(),
                   .activations = Bf16()};
  return model;
}

/// The dense model's first layer and one MoE layer: `experts` experts of intermediate 4, top-k of
/// them per token, no shared expert.
inline ModelSpec TinyMoeModel(int64_t experts = 8, int64_t top_k = 2) {
  ModelSpec model = TinyDenseModel();
  model.name = "tiny-moe";
  MoeSpec moe;
  moe.experts = experts;
  moe.top_k = top_k;
  moe.expert_intermediate = 4;
  model.moe = moe;
  model.layers.back().feed_forward = FeedForwardKind::kMoe;
  return model;
}

/// 1 GB of memory at 1 GB/s, 1 Tflop/s in every class, 10 multiprocessors.
inline DeviceSpec TinyDevice() {
  DeviceSpec device;
  device.name = "tiny-gpu";
  device.hbm_capacity = Bytes(1e9);
  device.hbm_bandwidth = BytesPerSecond(1e9);
  device.l2_capacity = Bytes(1e6);
  device.multiprocessors = 10;
  device.peak.fill(FlopsPerSecond(1e12));
  return device;
}

/// 100 MB/s per direction, 1 us per message.
inline FabricSpec TinyFabric() {
  return {.name = "tiny-link", .bandwidth = BytesPerSecond(1e8), .latency = Seconds(1e-6)};
}

}  // namespace moecast::test
