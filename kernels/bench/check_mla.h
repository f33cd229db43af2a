// The comparison of latent decode attention with its float64 reference: lengths off every page,
// padding rows, sequences that many blocks share, latents at 16, 8 and 4 bits.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "kernels/bench/case_range.h"
#include "kernels/harness/stream.h"

namespace moecast::kernels {

/// A CheckOfCases of registry.h.
void CheckMla(uint64_t seed, const CaseRange& cases, const Stream& stream,
              const std::function<void(const std::string& line)>& report);

}  // namespace moecast::kernels
