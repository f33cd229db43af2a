// How one replica's GPUs share the model. All ranks step together.
#pragma once

#include <cstdint>

#include "sim/base/result.h"
#include "sim/model/model_spec.h"

namespace moecast {

/// `tensor * data` GPUs hold one replica. Attention runs `data` independent groups of `tensor` GPUs
/// (DP attention); dense feed-forward blocks, shared experts and the LM head are split over the
/// `tensor` GPUs of a group and repeated in every group. Expert layers use the same GPUs: `expert`
/// groups of experts (EP), each expert split over the remaining tensor*data/expert GPUs (expert
/// TP).
struct Parallelism {
  int64_t tensor = 1;
  int64_t data = 1;
  int64_t expert = 1;

  [[nodiscard]] int64_t gpus() const { return tensor * data; }
  [[nodiscard]] int64_t expert_tensor() const { return gpus() / expert; }
  friend bool operator==(const Parallelism&, const Parallelism&) = default;
};

/// Whether `p` can hold `model`.
/// ERRORS: every reason why not (heads not divisible, expert groups not dividing the GPUs or the
/// experts, ...), each naming the field in `where`, the value and what is allowed.
Status CheckParallelism(const ModelSpec& model, const Parallelism& p);

}  // namespace moecast
