// What a replica keeps in GPU memory, and therefore how many tokens its KV cache holds.
#pragma once

#include <cstdint>

#include "sim/base/result.h"
#include "sim/model/hardware.h"
#include "sim/model/model_spec.h"
#include "sim/model/parallelism.h"

namespace moecast {

/// Memory of the fullest GPU of a replica.
struct MemoryPlan {
  Bytes weights;
  Bytes reserved;            // activations, graphs, runtime: what the scenario sets aside
  Bytes kv_budget;           // what is left for KV under the memory fraction
  double kv_bytes_per_token = 0;   // per GPU, all layers
  double state_bytes_per_sequence = 0;  // linear-attention state per GPU, all layers
  int64_t kv_tokens = 0;     // capacity of one attention-data-parallel group, in tokens
};

struct MemoryLimits {
  double memory_fraction = 0;  // of HBM the engine may use
  Bytes reserved;
};

/// Fits weights and KV cache. `kv` is the storage format of cached keys and values; KV heads are
/// split over tensor ranks and replicated when there are fewer heads than ranks; an MLA latent is
/// replicated on every tensor rank.
/// ERRORS: does not fit (by how many bytes, and the smallest GPU count or format that would fit).
Result<MemoryPlan> PlanMemory(const ModelSpec& model, const Parallelism& parallelism, const DeviceSpec& device,
                              const TensorFormat& kv, const MemoryLimits& limits);

/// Bytes of weights on one GPU.
Bytes WeightBytesPerGpu(const ModelSpec& model, const Parallelism& parallelism);

}  // namespace moecast
