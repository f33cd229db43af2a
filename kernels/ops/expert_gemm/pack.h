// Packing of projections into fragment order, on the host. The order is stated in fragment_order.h.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/ops/expert_gemm/quantise.h"

namespace moecast::kernels {

/// One projection. REQUIRES: rows % 16 == 0, columns a multiple of the format's block.
std::vector<uint8_t> Pack(const QuantisedMatrix& matrix);
/// Row tiles of gate and up in turn. REQUIRES: equal formats and sizes.
std::vector<uint8_t> PackGateUp(const QuantisedMatrix& gate, const QuantisedMatrix& up);

}  // namespace moecast::kernels
