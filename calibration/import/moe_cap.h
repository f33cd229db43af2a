// MoE-CAP's expert_distribution_record.jsonl: the latency of each step next to the distinct experts
// it touched. docs/formats/calibration_sources.md.
#pragma once

#include <string>

#include "calibration/import/imported.h"

namespace moecast::calibration {

/// One row of op "step" per line: variant "prefill" or "decode"; batch, context, tokens, distinct
/// experts (mean over layers). Latency is in seconds. ERRORS: a line that is no JSON object, a
/// missing field, a wrong type or range, with file:line: field.
Result<Imported> ImportMoeCap(std::string text, const std::string& name,
                              const ImportTarget& target);

}  // namespace moecast::calibration
