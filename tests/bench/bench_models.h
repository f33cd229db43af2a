// Shapes of the end-to-end benchmarks: two models and one GPU, with the figures of their public
// configurations, so that lowering and cost do realistic work.
#pragma once

#include <memory>

#include "sim/cost/step_cost.h"
#include "sim/engine/simulator.h"
#include "sim/model/model_spec.h"
#include "sim/replay/replay_table.h"
#include "traces/routing_synthesis.h"

namespace moecast::bench {

/// A cache in bf16.
inline KvPlan Bf16Kv(const ModelSpec& model) {
  const KvSide side{.code = {.bits = 16}};
  return PlanUniformKv(model, {.name = "bf16", .layer = {.keys = side, .values = side}});
}

inline const TensorFormat& Bf16() {
  static const TensorFormat format{.name = "bf16", .stored_bits = 16};
  return format;
}

/// Qwen3-32B's shape.
inline ModelSpec DenseModel() {
  ModelSpec model;
  model.name = "dense-32b";
  model.hidden = 5120;
  model.vocabulary = 151936;
  model.attention =
      GqaAttention{.heads = 64, .kv_heads = 8, .head_dim = 128, .value_head_dim = 128};
  model.dense_intermediate = 25600;
  model.layers.assign(64, LayerSpec{});
  model.formats = {Bf16(), Bf16(), Bf16(), Bf16(), Bf16()};
  return model;
}

/// Qwen3-235B-A22B's shape.
inline ModelSpec MoeModel() {
  ModelSpec model;
  model.name = "moe-235b";
  model.hidden = 4096;
  model.vocabulary = 151936;
  model.attention =
      GqaAttention{.heads = 64, .kv_heads = 4, .head_dim = 128, .value_head_dim = 128};
  model.moe = MoeSpec{.experts = 128, .top_k = 8, .expert_intermediate = 1536};
  model.layers.assign(94, LayerSpec{.feed_forward = FeedForwardKind::kMoe});
  model.formats = {Bf16(), Bf16(), Bf16(), Bf16(), Bf16()};
  return model;
}

/// A GPU of the H200 class.
inline DeviceSpec Gpu() {
  DeviceSpec device;
  device.name = "gpu";
  device.hbm_capacity = Bytes(141e9);
  device.hbm_bandwidth = BytesPerSecond(4.8e12);
  device.l2_capacity = Bytes(50e6);
  device.multiprocessors = 132;
  device.peak = {FlopsPerSecond(989e12), FlopsPerSecond(1979e12), FlopsPerSecond(1979e12),
                 FlopsPerSecond(0)};
  return device;
}

inline FabricSpec Fabric() {
  return {.name = "nvlink", .bandwidth = BytesPerSecond(450e9), .latency = Seconds(1e-6)};
}

inline Efficiencies StatedEfficiencies() {
  const ClassEfficiency each{.memory = 0.8, .compute = 0.7, .fixed = Seconds(2e-6)};
  return {.name = "bench",
          .gemm = each,
          .experts = each,
          .route = each,
          .decode_attention = each,
          .prefill_attention = each,
          .elementwise = each,
          .collective = each,
          .expert_tile_rows = 64,
          .host_per_step = Seconds(2e-4),
          .host_per_sequence = Seconds(1e-6),
          .eager_launch = Seconds(3e-6)};
}

inline StepCost CostOf(const ModelSpec& model, const Parallelism& parallelism) {
  return {model, parallelism, Bf16Kv(model), Gpu(), Fabric(), StatedEfficiencies()};
}

/// Synthetic routing of `model`: `sequences` of 1024 prompt and 2048 output rows.
inline std::shared_ptr<const ReplayTable> RoutingOf(const ModelSpec& model, int64_t sequences) {
  RoutingHeader header;
  for (int32_t layer = 0; layer < model.layer_count(); ++layer) header.moe_layers.push_back(layer);
  header.experts = static_cast<int32_t>(model.moe->experts);
  header.top_k = static_cast<int32_t>(model.moe->top_k);
  SyntheticRouting spec;
  spec.sequences = sequences;
  spec.prefill_tokens = 1024;
  spec.decode_tokens = 2048;
  RoutingSynthesiser synthesiser(spec, header, Seed{.seed = 1});
  ReplayTable::Builder builder(header, NativeTopK{});
  RoutingChunk chunk;
  while (synthesiser.Next(chunk)) SIM_CHECK(builder.Add(chunk).ok());
  return std::make_shared<const ReplayTable>(std::move(builder).Finish().value());
}

/// Prompt and output tokens of every request.
struct RequestShape {
  int64_t input = 0;
  int64_t output = 0;
};

inline RequestSource ClosedLoopOf(int64_t concurrency, const RequestShape& shape) {
  SyntheticWorkload workload;
  workload.arrivals = ClosedLoop{.concurrency = concurrency};
  workload.input = FixedLength{.tokens = shape.input};
  workload.output = FixedLength{.tokens = shape.output};
  return RequestSource::Open(workload, Seed{.seed = 1}).value();
}

inline EngineConfig ServerDefaults() {
  EngineConfig engine;
  engine.max_batch_tokens = 8192;
  engine.max_sequences = 256;
  engine.kv_block_tokens = 16;
  engine.graph_batch_sizes = {1, 2, 4};
  for (int64_t size = 8; size <= 512; size += 8) engine.graph_batch_sizes.push_back(size);
  return engine;
}

/// `model` on one GPU, 1024/128, closed loop of 64. REQUIRES: `model` outlives the run.
inline SimulatorInputs DenseInputs(const ModelSpec& model) {
  SimulatorInputs inputs;
  inputs.engine = ServerDefaults();
  inputs.kv_tokens_per_group = 200'000;
  inputs.cost = CostOf(model, {});
  inputs.requests = ClosedLoopOf(64, {.input = 1024, .output = 128});
  return inputs;
}

}  // namespace moecast::bench
