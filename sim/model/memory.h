// What a replica keeps in GPU memory, and therefore how many tokens its KV cache holds.
#pragma once

#include <cstdint>

#include "sim/base/result.h"
#include "sim/model/hardware.h"
#include "sim/model/kv_plan.h"
#include "sim/model/model_spec.h"
#include "sim/model/parallelism.h"

namespace moecast {

/// Memory of one GPU of a replica; all GPUs hold the same amount.
struct MemoryPlan {
  Bytes weights{};
  Bytes reserved{};   // activations, graphs, runtime: what the scenario sets aside
  Bytes state{};      // linear-attention state of MemoryLimits::state_sequences sequences
  Bytes kv_budget{};  // what is left for KV under the memory fraction
  double kv_bytes_per_token = 0;        // all layers
  double kv_bytes_per_sequence = 0;     // windows of a sequence beyond that, all layers
  double state_bytes_per_sequence = 0;  // linear-attention state, all layers
  /// Capacity of one attention-data-parallel group, windows of sequences not counted: a sequence
  /// of n tokens takes n * kv_bytes_per_token + kv_bytes_per_sequence.
  int64_t kv_tokens = 0;
  KvBits kv_bits{};
};

struct MemoryLimits {
  double memory_fraction = 0;  // of HBM the engine may use
  Bytes reserved{};
  int64_t state_sequences = 0;  // sequences per group whose linear-attention state is kept
};

/// Fits weights, linear-attention state and KV cache, which is counted in tokens of the plan's
/// first store; KV heads are split over tensor ranks and replicated when there are fewer heads than
/// ranks; an MLA latent is replicated on every tensor rank. Sliding-window layers keep every token.
/// REQUIRES: CheckParallelism passed. docs/model/memory.md.
/// ERRORS: not even a sequence of one token fits: by how many GiB, the smallest tensor and expert
/// degree that would fit on this GPU, and the bits per weight that would.
Result<MemoryPlan> PlanMemory(const ModelSpec& model, const Parallelism& parallelism,
                              const DeviceSpec& device, const KvPlan& kv,
                              const MemoryLimits& limits);

/// Bytes of weights on one GPU. REQUIRES: CheckParallelism passed.
Bytes WeightBytesPerGpu(const ModelSpec& model, const Parallelism& parallelism);

}  // namespace moecast
