#include "traces/import/capture.h"

#include <algorithm>
#include <string>
#include <utility>

#include "traces/import/capture_layout.h"
#include "traces/import/capture_sources.h"
#include "traces/routing_codec.h"

namespace moecast {
namespace {

using Importer = Status (*)(const CaptureJob&);

Importer ImporterOf(CaptureLayout layout) {
  switch (layout) {
    case CaptureLayout::kResponses:
      return ImportResponses;
    case CaptureLayout::kMegatron:
      return ImportMegatron;
    case CaptureLayout::kMoeCapSteps:
      return ImportMoeCapSteps;
    case CaptureLayout::kHitsJson:
      return ImportHitsJson;
    case CaptureLayout::kCountCsv:
      return ImportCountCsv;
    case CaptureLayout::kNpy:
      return ImportNpy;
    case CaptureLayout::kRouterLogits:
      return ImportRouterLogits;
    case CaptureLayout::kTorch:
      return ImportTorch;
    case CaptureLayout::kTrtllm:
      return ImportTrtllm;
  }
  return nullptr;
}

Status OpenAll(const std::vector<std::filesystem::path>& paths, std::vector<ByteFile>& files) {
  for (const std::filesystem::path& path : paths) {
    SIM_TRY(ByteFile file, ByteFile::Open(path));
    files.push_back(std::move(file));
  }
  return Ok();
}

}  // namespace

std::string_view Name(RoutingLevel level) {
  switch (level) {
    case RoutingLevel::kPerToken:
      return "per token";
    case RoutingLevel::kPassCounts:
      return "counts per pass";
    case RoutingLevel::kTotalCounts:
      return "total counts";
    case RoutingLevel::kPassActivation:
      return "activation per pass";
  }
  return {};
}

void CaptureReport::Note(std::string fact) {
  if (std::ranges::find(facts, fact) == facts.end()) facts.push_back(std::move(fact));
}

std::string RenderText(const CaptureReport& report) {
  std::string text = "layout: " + report.layout + ", " + std::to_string(report.files) +
                     (report.files == 1 ? " file\n" : " files\n");
  text += "level: " + std::string(Name(report.level));
  if (report.level == RoutingLevel::kPerToken) {
    text += ", " + std::to_string(report.sequences) + " sequences, " +
            std::to_string(report.prefill_tokens) + " prefill and " +
            std::to_string(report.decode_tokens) + " decode tokens, " +
            std::to_string(report.unknown_rows) + " unknown (token, layer) rows\n";
  } else {
    text += ", " + std::to_string(report.passes) + " passes; it cannot be replayed\n";
  }
  for (const std::string& fact : report.facts) text += "note: " + fact + "\n";
  return text;
}

Result<TokenImport> BeginTokens(const CaptureJob& job, const IdShape& shape,
                                const ExpertPlacement* placement, const std::string& where) {
  const CaptureModel& model = job.options.model;
  SIM_TRY(const LayerSelection selection, SelectLayers(shape.layers, model, where));
  RoutingHeader capture;
  capture.source = job.report.layout;
  capture.moe_layers = selection.moe_layers;
  // More columns than k are padding, which the decoder checks.
  const bool padded = model.top_k > 0 && shape.columns > model.top_k;
  capture.top_k =
      static_cast<int32_t>(padded ? model.top_k : std::min(shape.columns, kMaxTokenIds));
  if (model.top_k > shape.columns) capture.top_k = 0;  // refused by the decoder, which says why
  SIM_TRY(const RoutingHeader header, CaptureHeader(model, capture, where));
  SIM_TRY(IdDecoder decoder, IdDecoder::Make(header, selection, shape, placement, where));
  SIM_TRY(TokenSink sink, TokenSink::Create(job.out, header));
  const auto dropped = shape.layers - std::ssize(selection.rows);
  if (dropped > 0) {
    job.report.Note(std::to_string(shape.layers) + " layers in the capture, " +
                    std::to_string(dropped) + " dense ones left out");
  } else if (model.moe_layers.empty()) {
    job.report.Note("no model named: every captured layer is taken for an MoE layer");
  }
  return TokenImport{std::move(decoder), std::move(sink)};
}

Status FinishTokens(TokenSink& sink, CaptureReport& report) {
  SIM_RETURN_IF_ERROR(sink.Commit());
  report.level = RoutingLevel::kPerToken;
  report.sequences = sink.sequences();
  report.prefill_tokens = sink.prefill_tokens();
  report.decode_tokens = sink.decode_tokens();
  report.unknown_rows = sink.unknown_rows();
  return Ok();
}

Result<CaptureReport> ImportCapture(const std::vector<std::filesystem::path>& inputs,
                                    const CaptureOptions& options,
                                    const std::filesystem::path& out) {
  SIM_TRY(const std::vector<std::filesystem::path> paths, ExpandInputs(inputs));
  std::vector<ByteFile> files;
  SIM_RETURN_IF_ERROR(OpenAll(paths, files));
  SIM_TRY(const CaptureLayout layout, DetectLayout(files[0]));
  for (const ByteFile& file : files) {
    SIM_TRY(const CaptureLayout other, DetectLayout(file));
    if (other != layout) return file.Fail("is of another layout than " + files[0].name());
  }
  CaptureReport report;
  report.files = std::ssize(files);
  SIM_RETURN_IF_ERROR(ImporterOf(layout)({files, options, out, report}));
  return report;
}

}  // namespace moecast
