// Which layout a capture has, told from its first bytes and names, never from its extension.
#pragma once

#include <filesystem>
#include <vector>

#include "sim/base/result.h"
#include "traces/formats/byte_file.h"

namespace moecast {

enum class CaptureLayout {
  kResponses,
  kMegatron,
  kMoeCapSteps,
  kHitsJson,
  kCountCsv,
  kNpy,
  kRouterLogits,
  kTorch,
  kTrtllm
};

/// The files of a folder of TensorRT-LLM, the raw ones if it has them; other inputs as they are.
/// ERRORS: no inputs, a folder without such files.
Result<std::vector<std::filesystem::path>> ExpandInputs(
    const std::vector<std::filesystem::path>& inputs);

/// ERRORS: a layout that is not known; one that is known and is no capture (a placement, a routing
/// trace), saying so.
Result<CaptureLayout> DetectLayout(const ByteFile& file);

}  // namespace moecast
