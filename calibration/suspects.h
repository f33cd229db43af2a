// Suspects: rows that their neighbours or a row of less work contradict.
#pragma once

#include <vector>

#include "calibration/calibrate.h"
#include "calibration/kernel_rows.h"

namespace moecast::calibration {

/// Neighbour test: a row off what the other rows of its shape say by more than 10 % and by more
/// than four times the kernel's median. Monotonicity test: a row that takes more than 10 % less
/// than another row of its shape whose work is nowhere more.
std::vector<SuspectRow> FindSuspects(const KernelRows& kernel, const KernelProfile& profile);

}  // namespace moecast::calibration
