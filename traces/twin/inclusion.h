// From the chance that a row has an expert to the expert's weight, for rows drawn without
// replacement: the k first of exponential clocks whose rates are the weights.
#pragma once

#include <cmath>

namespace moecast {

/// The log weight ln(-ln(1 - chance)), right for many experts and few drawn; a fit corrects it for
/// others. docs/model/twin.md, Eq. F3. [Rosen72] REQUIRES: 0 < chance < 1.
inline double LogWeightOfInclusion(double chance) { return std::log(-std::log1p(-chance)); }

}  // namespace moecast
