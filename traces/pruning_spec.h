// PruningSpec: which experts are taken out of a model before it is served.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace moecast {

/// What decides which experts of a layer stay.
enum class PruningOrder {
  kRandom,
  kHardCount,  // how often they were chosen
  kSoftCount,  // the sum of their gate scores [SEERMoE]
};

struct PruningSpec {
  int64_t experts = 0;         // that stay in every MoE layer
  int64_t native_experts = 0;  // of the unpruned model
  int64_t native_top_k = 0;
  PruningOrder order = PruningOrder::kHardCount;
  std::filesystem::path calibration = {};  // trace that is counted; empty: the run's own routing
  std::string category = {};  // count only its sequences: task-specific pruning [UNCURL]
  friend bool operator==(const PruningSpec&, const PruningSpec&) = default;
};

}  // namespace moecast
