// The comparison of the expert path, router to combine, with its float64 reference.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "kernels/harness/stream.h"
#include "kernels/ops/expert_shape.h"
#include "kernels/ops/route/routing_rule.h"

namespace moecast::kernels {

struct CheckCase {
  ExpertShape shape;
  RoutingRule rule;
};

/// Small shapes, odd on purpose: loads off the token tile, expert counts off the fragment, all
/// slots but one skipped.
std::vector<CheckCase> CheckCases();

/// Runs one case on the device, outputs poisoned first, and compares the routing as RequireRouting
/// does, and each product on the kernel's own inputs within 3e-3 relative.
/// RETURNS: one line that says what was compared.
/// ERRORS: throws std::runtime_error with the first difference.
std::string CheckOnDevice(const CheckCase& check, uint64_t seed, const Stream& stream);

/// All cases. A Check of registry.h.
void CheckExpertPath(uint64_t seed, const Stream& stream,
                     const std::function<void(const std::string& line)>& report);

}  // namespace moecast::kernels
