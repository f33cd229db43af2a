// RunResult: everything one simulation yields, before it is rendered.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sim/base/units.h"
#include "sim/metrics/records.h"
#include "sim/metrics/summary.h"
#include "sim/replay/routing_source.h"
#include "traces/request_source.h"

namespace moecast {

enum class EndReason { kDrained, kHorizon, kTraceEnded };

struct RunResult {
  Summary summary;
  std::vector<TimeSample> samples;
  std::vector<uint64_t> expert_totals;  // [moe_layer][expert] assignments; empty without replay
  RoutingNotes routing;
  RequestSourceNotes requests;
  uint64_t fingerprint = 0;
  uint64_t events = 0;
  Time end;
  EndReason end_reason = EndReason::kDrained;
};

}  // namespace moecast
