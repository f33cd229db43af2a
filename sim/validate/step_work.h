// StepWork: what a step computes, as one number, so that a recorded step is told from another one.
#pragma once

#include <cstdint>

#include "sim/model/step_executor.h"

namespace moecast {

/// Equal for equal work: the same sequences with the same past, rows and experts, on the same model
/// in the same formats, KV scheme and GPU. COST: O(expert ids of the step).
uint64_t StepWork(const ExecutorRequest& on, const StepRun& run);

}  // namespace moecast
