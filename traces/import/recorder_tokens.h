// The token-level captures among torch files.
#pragma once

#include <vector>

#include "sim/base/result.h"
#include "traces/formats/tree.h"
#include "traces/import/capture_sources.h"

namespace moecast {

/// The placement that the file says was in force, or else the one the user gave.
/// ERRORS: there is none: physical ids mean nothing without.
Result<ExpertPlacement> PlacementInForce(const CaptureJob& job, const Tree& tree);

/// SGLang's per_token: topk_ids_of_layer [layers, tokens, 8] per pass, physical, put together to
/// requests by their positions. `trees` are the files' contents.
Status ImportRecorderTokens(const CaptureJob& job, const std::vector<Tree>& trees);

/// MoE-CAP's: topk_ids [layers, tokens, k], one sequence per file.
Status ImportMoeCapTokens(const CaptureJob& job, const std::vector<Tree>& trees);

}  // namespace moecast
