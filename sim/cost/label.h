// Label: where a predicted time comes from.
#pragma once

#include <string_view>

namespace moecast {

/// Best first. Measured: the profile has a row of exactly these features. Interpolated: inside the
/// range of its rows. Extrapolated: outside it, or of a shape without rows. Analytic: no profile
/// row of this kernel at all.
enum class Label { kMeasured, kInterpolated, kExtrapolated, kAnalytic };
inline constexpr int kLabelCount = 4;
std::string_view LabelName(Label label);

}  // namespace moecast
