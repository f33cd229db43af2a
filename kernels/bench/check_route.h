// The comparison of routing, by every rule and in every form, with its float64 reference.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "kernels/harness/device_buffer.h"
#include "kernels/harness/stream.h"
#include "kernels/ops/route/reference.h"
#include "kernels/ops/route/route.h"

namespace moecast::kernels {

/// Everything that routing writes, poisoned.
struct RoutingOutputs {
  DeviceBuffer<float> partial_logits;
  DeviceBuffer<int32_t> expert_of_slot;
  DeviceBuffer<float> weight_of_slot;
  DeviceBuffer<int32_t> position_of_slot;
  DeviceBuffer<int32_t> active_experts;
  DeviceBuffer<int32_t> active_count;
  DeviceBuffer<int32_t> offsets;
  DeviceBuffer<int32_t> slot_token;

  explicit RoutingOutputs(const ExpertShape& shape);
  [[nodiscard]] RouteBuffers buffers() const;
};

struct RoutingMatch {
  int close = 0;              // tokens left out because a decision was within rounding
  reference::Alignment rows;  // of the experts that the device chose
};

/// Experts and weights must be the reference's, but for tokens whose margin is below 1e-4; the
/// alignment must be exactly that of the experts chosen.
/// ERRORS: throws std::runtime_error with the first difference.
RoutingMatch RequireRouting(const ExpertShape& shape, const reference::Selection& expected,
                            const RoutingOutputs& out);

/// Every rule on odd shapes. A Check of registry.h.
void CheckRoute(uint64_t seed, const Stream& stream,
                const std::function<void(const std::string& line)>& report);

}  // namespace moecast::kernels
