// SplitAtSwitch: a table may hold two kernels under one name, where an engine changes its kernel
// with the number of sequences. Work never makes a launch much faster, so a kernel whose time falls
// when only the sequences grow in number is another one from there on.
#pragma once

#include <span>

#include "calibration/kernel_row.h"

namespace moecast::calibration {

/// Renames the variant of decode attention rows from the smallest number of sequences N on at which
/// at least four series (rows of one shape, format and length of cache) have their last two counts
/// and most of them fall by more than a fifth: "NAME" becomes "NAME_fromN".
void SplitAtSwitch(std::span<KernelRow> rows);

}  // namespace moecast::calibration
