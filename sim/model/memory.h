// What a replica keeps in GPU memory, and therefore how many tokens its KV cache holds.
#pragma once

#include <cstdint>

#include "sim/base/result.h"
#include "sim/model/hardware.h"
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
  double state_bytes_per_sequence = 0;  // linear-attention state, all layers
  int64_t kv_tokens = 0;                // capacity of one attention-data-parallel group
};

struct MemoryLimits {
  double memory_fraction = 0;  // of HBM the engine may use
  Bytes reserved{};
  int64_t state_sequences = 0;  // sequences per group whose linear-attention state is kept
};

/// Fits weights, linear-attention state and KV cache. `kv` is the storage format of cached keys and
/// values; KV heads are split over tensor ranks and replicated when there are fewer heads than
/// ranks; an MLA latent is replicated on every tensor rank. Sliding-window layers keep every token.
/// REQUIRES: CheckParallelism passed. docs/model/memory.md.
/// ERRORS: not even one token of KV fits: by how many GiB, the smallest tensor and expert degree
/// that would fit on this GPU, and the bits per weight that would.
Result<MemoryPlan> PlanMemory(const ModelSpec& model, const Parallelism& parallelism,
                              const DeviceSpec& device, const TensorFormat& kv,
                              const MemoryLimits& limits);

/// Bytes of weights on one GPU. REQUIRES: CheckParallelism passed.
Bytes WeightBytesPerGpu(const ModelSpec& model, const Parallelism& parallelism);

}  // namespace moecast
