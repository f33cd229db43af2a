// What this project's suites call things, in the words of kernel forms.
#pragma once

#include <optional>
#include <string_view>

#include "calibration/kernel_row.h"

namespace moecast::calibration {

/// The feature a column holds: the one of its name, or of what the KV suites call it.
std::optional<Feature> FeatureOfColumn(std::string_view column);

/// `dense` gets n and k from intermediate and hidden. `prefill_OP` becomes the
/// variant "prefill" of OP, with padded rows restated for the tile of the decode kernels. `norm`,
/// `rope` and `sample` get the bytes per row by which the simulator knows them, and their regime as
/// variant. Attention that reads a window or a selection is a variant over the tokens it reads; the
/// context of a chunk counts its own tokens; "mla_" goes from the names of schemes. `route` gets
/// its rule as variant.
void TranslateSuite(KernelRow& row, std::string_view regime, std::string_view rule);

}  // namespace moecast::calibration
