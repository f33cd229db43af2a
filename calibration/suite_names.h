// What this project's suites call things, in the words of kernel forms.
#pragma once

#include <string_view>

#include "calibration/kernel_row.h"

namespace moecast::calibration {

/// `dense` gets n and k from intermediate and hidden. `prefill_OP` becomes the
/// variant "prefill" of OP, with padded rows restated for the tile of the decode kernels. `norm`,
/// `rope` and `sample` get the bytes per row by which the simulator knows them, and their regime as
/// variant.
void TranslateSuite(KernelRow& row, std::string_view regime);

}  // namespace moecast::calibration
