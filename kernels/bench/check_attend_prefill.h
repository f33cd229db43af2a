// The comparison of prefill attention with its float64 reference: lengths off every tile, empty
// sequences, strided inputs, pasts in every kind of page.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "kernels/harness/stream.h"

namespace moecast::kernels {

/// A Check of registry.h.
void CheckAttendPrefill(uint64_t seed, const Stream& stream,
                        const std::function<void(const std::string& line)>& report);

}  // namespace moecast::kernels
