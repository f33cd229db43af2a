// How one replica's GPUs share the model. All ranks step together.
#pragma once

#include <cstdint>

#include "sim/base/result.h"
#include "sim/model/model_spec.h"

namespace moecast {

/// `tensor * data` GPUs hold one replica. Attention runs `data` independent groups of `tensor` GPUs (DP attention).
/// Expert layers use the same GPUs: `expert` groups of experts (EP), each expert split over the
/// remaining tensor*data/expert GPUs (expert TP).
struct Parallelism {
  int64_t tensor = 1;
  int64_t data = 1;
  int64_t expert = 1;

  [[nodiscard]] int64_t gpus() const { return tensor * data; }
  [[nodiscard]] int64_t expert_tensor() const { return gpus() / expert; }
  friend bool operator==(const Parallelism&, const Parallelism&) = default;
};

/// Every reason why `p` cannot hold `model` (heads not divisible, expert groups not dividing the
/// GPUs or the experts, ...), each naming the field, the value and what is allowed.
Status CheckParallelism(const ModelSpec& model, const Parallelism& p);

}  // namespace moecast
