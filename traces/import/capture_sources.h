// The importers behind ImportCapture, one per family of layouts. Each fills the report's layout,
// level and facts and writes `out` or returns what is wrong.
#pragma once

#include <filesystem>
#include <span>
#include <vector>

#include "sim/base/result.h"
#include "traces/formats/byte_file.h"
#include "traces/import/capture.h"
#include "traces/import/id_decoder.h"
#include "traces/import/token_sink.h"

namespace moecast {

/// What every importer is given. REQUIRES: at least one file; all outlive the call.
struct CaptureJob {
  std::span<const ByteFile> files;
  const CaptureOptions& options;
  const std::filesystem::path& out;
  CaptureReport& report;
};

/// JSON responses of vLLM, SGLang and Dynamo.
Status ImportResponses(const CaptureJob& job);
/// Megatron-core's routing trace, JSON lines.
Status ImportMegatron(const CaptureJob& job);
/// MoE-CAP's record of steps, JSON lines: becomes a table of steps, not of experts.
Status ImportMoeCapSteps(const CaptureJob& job);
/// {"layer": {"hits": [..]}} and the like.
Status ImportHitsJson(const CaptureJob& job);
/// CSV of counts: one row per layer, or columns layer, expert, count.
Status ImportCountCsv(const CaptureJob& job);
/// .npy: token ids (integers) or counts per sequence (MoE-Infinity).
Status ImportNpy(const CaptureJob& job);
/// .npz of router logits, layer_0.npy ..
Status ImportRouterLogits(const CaptureJob& job);
/// Files of torch.save: SGLang's recorder, MoE-CAP's tokens.
Status ImportTorch(const CaptureJob& job);
/// TensorRT-LLM's rankN.safetensors (counts) or its raw variants (tokens).
Status ImportTrtllm(const CaptureJob& job);

/// The decoder and the open sink of a capture of tokens.
struct TokenImport {
  IdDecoder decoder;
  TokenSink sink;
};
/// Joins the capture's shape with the model and creates the trace. `shape` as captured;
/// `placement` null for logical ids. ERRORS: what does not fit, at `where`.
Result<TokenImport> BeginTokens(const CaptureJob& job, const IdShape& shape,
                                const ExpertPlacement* placement, const std::string& where);
/// Commits and fills the report's figures.
Status FinishTokens(TokenSink& sink, CaptureReport& report);

}  // namespace moecast
