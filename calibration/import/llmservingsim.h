// LLMServingSim's layer profiles as kernel rows [LLMServingSim]: tokens x activated experts, dense
// layers, per-sequence layers, attention. docs/formats/calibration_sources.md.
#pragma once

#include <filesystem>
#include <string>

#include "calibration/import/imported.h"
#include "sim/model/model_spec.h"

namespace moecast::calibration {

/// Reads every tpN/{dense,per_sequence,moe,attention}.csv[.gz|.zst] of `folder`. The tables name
/// no widths, so the profiled model must be given. Expert rows whose weights fit the GPU's
/// last-level cache were measured warm and are left out, as are fits and rows that mix prefill with
/// decode. ERRORS: no tpN folder; a model without experts or with latent attention; a tensor-
/// parallel size that does not divide it; problems in tables with file:line: column.
Result<Imported> ImportLlmServingSim(const std::filesystem::path& folder, const ModelSpec& model,
                                     const ImportTarget& target);

/// One table; `stem` is "moe", "dense", "per_sequence" or "attention", `tensor` its tpN.
Result<Imported> ImportLlmServingSimTable(std::string text, const std::string& name,
                                          const std::string& stem, int64_t tensor,
                                          const ModelSpec& model, const ImportTarget& target);

}  // namespace moecast::calibration
