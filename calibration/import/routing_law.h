// The expert loads behind a row of a public MoE table, which names only a distribution: the
// histogram is drawn again by the law that its collector documents.
// docs/formats/calibration_sources.md.
#pragma once

#include <cstdint>

#include "sim/model/step_shape.h"

namespace moecast::calibration {

/// One MoE layer over `ranks` expert-parallel GPUs that hold experts / ranks consecutive experts
/// each. REQUIRES: 1 <= top_k <= experts, ranks divides experts, tokens >= 1.
struct LayerShape {
  int64_t tokens = 0;  // of the whole layer, before the split over ranks
  int64_t experts = 0;
  int64_t top_k = 0;
  int64_t ranks = 1;
  friend auto operator<=>(const LayerShape&, const LayerShape&) = default;
};

/// Rank 0 under "balanced": token t uses experts t + i * ceil(E / k) (mod E), i < k; below
/// ceil(E / k) tokens they are spread evenly first. `tile_rows` pads every expert's rows.
ExpertLoad BalancedLoad(const LayerShape& shape, int64_t tile_rows);

/// Steeper ones overflow where 0.01^(1 - alpha) does.
inline constexpr double kSteepestLaw = 100;

/// The fullest rank under "power_law_<alpha>": expert weights are drawn with density x^-alpha over
/// [1, 0.8 T] ([0.01, 2] when T k <= E), scaled to T k assignments, rounded, capped at T rows per
/// expert, what is cut off going to each rank's emptiest experts in turn. The collector's draw is
/// not published, so the mean over `draws` own draws is returned. REQUIRES: 0 < alpha <=
/// kSteepestLaw, alpha != 1.
ExpertLoad PowerLawLoad(const LayerShape& shape, double alpha, int64_t tile_rows, int draws);

}  // namespace moecast::calibration
