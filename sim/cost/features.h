// Features: bytes and FLOPs of an Op. The only copy; the simulator and calibration both use it.
// docs/model/features.md has one equation per function.
#pragma once

#include <array>

#include "sim/base/units.h"
#include "sim/model/op.h"

namespace moecast {

/// Device-memory traffic and arithmetic of one execution on one GPU.
struct OpFeatures {
  Bytes bytes{};
  Flops flops{};
  ComputeClass compute = ComputeClass::kBf16;
  // As TensorFormat has them: what happens where the device lacks the unit `compute`.
  ComputeClass otherwise = ComputeClass::kBf16;
  bool expanded = false;
  double expanded_rate = 1;
  /// Of `bytes`, cached codes by width (kNarrowWidths), which are unpacked on the way.
  std::array<double, kNarrowWidthCount> narrow_bytes{};
};

OpFeatures Features(const Gemm& op);
OpFeatures Features(const RouteTokens& op);
OpFeatures Features(const DecodeAttention& op);
OpFeatures Features(const PrefillAttention& op);
OpFeatures Features(const SelectTokens& op);
OpFeatures Features(const LinearAttentionScan& op);
OpFeatures Features(const KvAppend& op);
OpFeatures Features(const Elementwise& op);
OpFeatures Features(const ExtraWork& op);

/// What one distinct expert, one assignment and one padded row of a rank, and one assignment of any
/// rank, add to a rank's work in one MoE layer: features are linear in loads while experts are read
/// whole.
struct ExpertUnits {
  double bytes_per_expert = 0;
  double bytes_per_mixed_expert = 0;  // of an expert stored in the mix's format
  double bytes_per_assignment = 0;
  double bytes_per_layer_assignment = 0;
  double flops_per_padded_row = 0;
};
ExpertUnits UnitsOf(const ExpertGemm& op);
/// Share of a touched expert's weights that is read: 1 while experts are read whole.
double ReadShare(const ExpertGemm& op, const ExpertLoad& load);
/// Traffic and arithmetic of `load` on its rank in one MoE layer whose ranks have
/// `layer_assignments` together; experts stored in the mix's format apart.
struct ExpertFeatures {
  OpFeatures most{};
  OpFeatures mixed{};
};
ExpertFeatures Features(const ExpertGemm& op, const ExpertLoad& load, double layer_assignments);

/// Rows that the fullest rank of a MoE layer receives in dispatch (and returns in combine), the
/// mean over MoE layers.
double MeanFullestRows(const ExpertExchange& op);

}  // namespace moecast
