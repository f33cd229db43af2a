// Says how near a fitted twin came to its trace.
#pragma once

#include <string>

#include "traces/twin/twin_fit.h"

namespace moecast {

/// A table for a terminal: each figure fitted by, of the trace and as the twin drew it last.
std::string RenderFit(const FitInput& input, const TwinFit& fit);

}  // namespace moecast
