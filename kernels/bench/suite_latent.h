// Rows of appending latents, part of the suite `append`.
#pragma once

#include <vector>

#include "kernels/bench/suites.h"
#include "kernels/harness/kv_measurement.h"

namespace moecast::kernels {

void AppendLatentRows(const SuiteContext& context, std::vector<KvMeasurement>& rows);

}  // namespace moecast::kernels
