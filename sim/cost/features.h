// Features: bytes and FLOPs of an Op. The only copy; the simulator and calibration both use it.
#pragma once

#include "sim/base/units.h"
#include "sim/model/op.h"

namespace moecast {

/// Device-memory traffic and arithmetic of one execution on the busiest rank.
struct OpFeatures {
  Bytes bytes;
  Flops flops;
  ComputeClass compute = ComputeClass::kBf16;
};

/// For ExpertGemm, of one rank's load; see ExpertFeatures for a given rank. docs/model.md, "Features".
OpFeatures Features(const Op& op);
/// Traffic and arithmetic of `load` on one rank of `op`.
OpFeatures ExpertFeatures(const ExpertGemm& op, const ExpertLoad& load);

}  // namespace moecast
