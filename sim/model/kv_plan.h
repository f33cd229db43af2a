// KvPlan: a KV policy resolved for a model: which layers are kept how, what a sequence is charged,
// which tokens are read. Engine, memory plan and lowering read it; docs/model/kv.md.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "sim/model/kv_scheme.h"
#include "sim/model/model_spec.h"
#include "sim/model/step_shape.h"

namespace moecast {

/// Layers that are kept alike.
struct KvLayerClass {
  std::string scheme{};
  KvLayer layer{};
  bool rotated = false;
  int64_t full_layers = 0;    // with full attention (all layers with a latent)
  int64_t window_layers = 0;  // with sliding-window attention
  // Per element of one layer on one rank, filled by MakeKvStore: places in KvStore::boundaries.
  std::vector<size_t> key_boundaries{};
  std::vector<size_t> value_boundaries{};
  [[nodiscard]] int64_t layers() const { return full_layers + window_layers; }
};

/// Bits per element of the whole cache once a sequence is long.
struct KvBits {
  double stored = 0;
  double read = 0;
  double equivalent = 0;
};

/// One way to keep a sequence, all layers.
struct KvStore {
  std::string name{};
  std::vector<KvLayerClass> classes{};
  std::vector<KvBoundary> boundaries{};  // distinct ones, at most kMostKvBoundaries
};

/// Above `above` of the blocks in use, sequences are kept in the second store.
struct KvPressure {
  enum class Who { kNew, kOldest };
  double above = 1;
  Who who = Who::kNew;  // kNew: sequences admitted then; kOldest: running ones, oldest first
};

/// Decode attends to `tokens` of a sequence, chosen anew by a predictor; every `recalibrate`-th
/// token of a sequence attends to all of them instead.
struct KvBudget {
  int64_t tokens = 0;
  int64_t recalibrate = 0;     // 0: never
  double predictor_flops = 0;  // per cached token, query head and layer
  double predictor_bytes = 0;  // the same
};

struct KvPlan {
  std::vector<KvStore> stores{};  // one, or the normal and the one under pressure
  std::optional<KvPressure> pressure{};
  std::optional<KvBudget> budget{};
  int64_t keep_tokens = 0;  // newest and sinks that are kept of a sequence; 0: all
  /// Whether one number of bits says everything: no windows, no second store, no token left out.
  [[nodiscard]] bool plain() const;
};

/// What caching one element of each side of a layer means on one rank.
struct KvElements {
  double keys = 0;
  double values = 0;
};
KvElements KvElementsOf(const ModelSpec& model, int64_t tensor);

/// Groups layers that are kept alike. `layers` has one entry per layer of the model that caches
/// keys and values, first to last.
/// REQUIRES: at most kMostKvBoundaries distinct boundaries (CountKvBoundaries).
KvStore MakeKvStore(std::string name, const ModelSpec& model, const std::vector<KvScheme>& layers);
size_t CountKvBoundaries(const std::vector<KvScheme>& layers);
/// All layers kept in one scheme.
KvPlan PlanUniformKv(const ModelSpec& model, const KvScheme& scheme);

KvBits BitsOf(const KvStore& store, const KvElements& elements);

/// What a sequence of n tokens is charged on one rank, per_sequence + n * per_token bytes: at least
/// what it holds at any phase of its flushes, and that exactly once its windows are full.
struct KvCharge {
  double per_sequence = 0;
  double per_token = 0;
};
KvCharge ChargeOf(const KvStore& store, const KvElements& elements);
/// Bytes a sequence of `tokens` holds on one rank.
double HeldBytes(const KvStore& store, const KvElements& elements, int64_t tokens);

}  // namespace moecast
