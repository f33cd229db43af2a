// ExtraOperation: work that a compression method or a model variant adds to a model, as data:
// transforms before a quantised product, a matrix at the cut where layers were removed, low-rank
// branches, masks. docs/model/formats.md, "Extra operations".
#pragma once

#include <cstdint>
#include <string>

#include "sim/model/tensor_format.h"

namespace moecast {

/// Where it runs: in every layer, in those with a dense or a MoE block, once per cut, once per
/// step.
enum class ExtraPlace { kLayer, kDenseLayer, kMoeLayer, kCut, kStep };

/// One kernel, run `count` times at each place over the rows of the step; in full on every tensor
/// rank.
struct ExtraOperation {
  std::string name{};  // "extra.linear_patch"
  ExtraPlace place = ExtraPlace::kLayer;
  int64_t count = 1;
  bool product = false;   // runs at the efficiency of a GEMM, else of an elementwise kernel
  double weights = 0;     // elements of *format, read once per execution
  TensorFormat format{};  // of the weights; its unit computes
  double bytes_per_row = 0;
  double flops_per_row = 0;
};

}  // namespace moecast
