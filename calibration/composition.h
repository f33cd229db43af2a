// Composition: is a MoE layer the sum of its launches? Measured layers against what the profile
// says of their parts.
#pragma once

#include <vector>

#include "calibration/calibrate.h"
#include "calibration/kernel_rows.h"

namespace moecast::calibration {

/// One report per variant and format that has `layer` rows and all their launches.
/// combine.
std::vector<CompositionReport> CompareComposition(const std::vector<KernelRows>& kernels,
                                                  const Profile& profile);

/// Keeps the `count` entries farthest from ratio 1, farthest first.
void KeepWorst(std::vector<Miss>& misses, size_t count);

}  // namespace moecast::calibration
