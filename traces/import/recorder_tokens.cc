#include "traces/import/recorder_tokens.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "traces/import/request_threads.h"
#include "traces/import/row_spool.h"

namespace moecast {
namespace {

using Kind = TreeValue::Kind;

/// The values of ForwardMode whose tokens are prefill segments first, in SGLang's source.
constexpr int64_t kExtendMode = 1;
constexpr int64_t kMixedMode = 3;

/// Decodes a tensor [layers, tokens, columns], layer by layer.
Result<std::vector<uint16_t>> DecodeTensor(const ByteFile& file, const ArrayRef& array,
                                           const IdDecoder& decoder, int64_t token_ids) {
  const int64_t tokens = array.shape[1];
  const int64_t columns = array.shape[2];
  const auto at = [&](int64_t layer, int64_t token, int64_t column) {
    return array.offset + static_cast<uint64_t>((layer * tokens + token) * columns + column) *
                              ElementBytes(array.type);
  };
  const auto wrong = [&](const IdFault& fault) {
    return file.At(at(fault.layer, fault.token, fault.column),
                   "layer " + std::to_string(fault.layer) + ", token " +
                       std::to_string(fault.token) + " of the pass: " + fault.message);
  };
  std::vector<uint16_t> ids(static_cast<size_t>(tokens * token_ids));
  const LayerSelection& selection = decoder.selection();
  for (size_t i = 0; i < selection.rows.size(); ++i) {
    SIM_TRY(const std::string bytes,
            file.Read(at(selection.rows[i], 0, 0),
                      static_cast<uint64_t>(tokens * columns) * ElementBytes(array.type)));
    const auto fault = decoder.DecodeLayer(bytes, array.type, static_cast<int64_t>(i), ids);
    if (fault) return wrong(*fault);
  }
  if (const auto fault = decoder.CheckRows(ids)) return wrong(*fault);
  return ids;
}

Status CheckTensor(const ByteFile& file, const ArrayRef& array, const std::string& name) {
  if (array.shape.size() == 3 && IsInteger(array.type) && array.shape[2] > 0) return Ok();
  return file.At(array.offset, name + " is " + std::string(Name(array.type)) +
                                   ShapeText(array.shape) +
                                   ", it must be integers [layers, tokens, k]");
}

/// One pass of SGLang's recorder.
struct Pass {
  ArrayRef ids = {};
  std::vector<int64_t> positions = {};
  std::vector<int64_t> prefill_lengths = {};
};

/// What is wrong with a record, or the pass.
Result<Pass> ReadPass(const Tree& tree, const TreeValue& record, const ByteFile& file) {
  const auto ids = tree.Find(record, "topk_ids_of_layer", Kind::kTensor);
  const auto listed = tree.Find(record, "positions");
  const auto positions = listed ? tree.Integers(*listed) : std::nullopt;
  if (!ids || !positions) {
    return file.Fail("every record must have a tensor topk_ids_of_layer and a list positions");
  }
  Pass pass{.ids = tree.at(*ids).array, .positions = *positions};
  SIM_RETURN_IF_ERROR(CheckTensor(file, pass.ids, "topk_ids_of_layer"));
  if (pass.ids.shape[1] != std::ssize(*positions)) {
    return file.At(pass.ids.offset, "a pass has ids of " + std::to_string(pass.ids.shape[1]) +
                                        " tokens and positions of " +
                                        std::to_string(positions->size()));
  }
  const auto mode = tree.Integer(record, "forward_mode");
  const auto lengths = tree.Find(record, "extend_seq_lens");
  if (mode != kExtendMode && mode != kMixedMode) return pass;
  const auto known = lengths ? tree.Integers(*lengths) : std::nullopt;
  if (!known) return file.Fail("a prefill pass has no list extend_seq_lens");
  pass.prefill_lengths = *known;
  return pass;
}

class RecorderImporter {
 public:
  explicit RecorderImporter(const CaptureJob& job) : job_(job) {}

  Status Run(const std::vector<Tree>& trees) {
    job_.report.layout = "SGLang expert distribution recorder, per_token";
    SIM_TRY(const ExpertPlacement placement, PlacementInForce(job_, trees[0]));
    placement_ = &placement;
    for (size_t i = 0; i < trees.size(); ++i) {
      SIM_RETURN_IF_ERROR(AddFile(job_.files[i], trees[i]));
      SIM_RETURN_IF_ERROR(WriteRequests(i));
    }
    if (!import_) return job_.files[0].Fail("no pass has tokens");
    if (trees.size() > 1) {
      job_.report.Note(
          "ranks are taken to hold different tokens; under tensor parallelism give one file only");
    }
    if (ambiguous_ > 0) {
      job_.report.Note(std::to_string(ambiguous_) +
                       " tokens could be of several requests and went to the first in batch order");
    }
    if (orphans_ > 0) {
      job_.report.Note(std::to_string(orphans_) +
                       " requests were decoding when the recording began");
    }
    return FinishTokens(import_->sink, job_.report);
  }

 private:
  Status AddFile(const ByteFile& file, const Tree& tree) {
    threads_ = {};
    for (const TreeValue& record : tree.at(*tree.Find(tree.root, "records")).items) {
      SIM_TRY(const Pass pass, ReadPass(tree, record, file));
      if (pass.positions.empty()) continue;
      SIM_RETURN_IF_ERROR(AddPass(file, pass));
    }
    return Ok();
  }

  Status AddPass(const ByteFile& file, const Pass& pass) {
    const IdShape shape{pass.ids.shape[0], pass.ids.shape[2]};
    if (!import_) {
      SIM_TRY(TokenImport begun, BeginTokens(job_, shape, placement_, file.name()));
      import_.emplace(std::move(begun));
      job_.report.Note("physical ids are mapped to logical ones by the placement");
      SIM_TRY(RowSpool spool, RowSpool::Create(import_->sink.token_ids()));
      spool_.emplace(std::move(spool));
    }
    const IdShape& known = import_->decoder.shape();
    if (shape.layers != known.layers || shape.columns != known.columns) {
      return file.At(pass.ids.offset, "a pass is " + ShapeText(pass.ids.shape) +
                                          ", earlier ones have " + std::to_string(known.layers) +
                                          " layers of " + std::to_string(known.columns) + " ids");
    }
    SIM_TRY(const std::vector<uint16_t> ids,
            DecodeTensor(file, pass.ids, import_->decoder, import_->sink.token_ids()));
    std::string wrong = threads_.AddPass(pass.positions, pass.prefill_lengths, spool_->rows());
    if (!wrong.empty()) return file.At(pass.ids.offset, "the pass with these ids: " + wrong);
    return spool_->Append(ids);
  }

  /// Takes the file's rows back, request by request.
  Status WriteRequests(size_t file) {
    for (size_t i = 0; i < threads_.threads().size(); ++i) {
      const RequestThread& thread = threads_.threads()[i];
      const std::string rank = job_.files.size() > 1 ? "file " + std::to_string(file) + " " : "";
      import_->sink.Begin({.request_id = rank + "request " + std::to_string(i), .category = {}});
      const ThreadPiece& first = thread.front();
      if (first.phase == RoutingPhase::kPrefill && first.first_position > 0) {
        job_.report.Note("prompt tokens that a prefix cache skipped are kept as unknown");
        SIM_RETURN_IF_ERROR(
            import_->sink.AddUnknown(RoutingPhase::kPrefill, 0, first.first_position));
      }
      SIM_RETURN_IF_ERROR(WriteThread(thread));
    }
    ambiguous_ += threads_.ambiguous_tokens();
    orphans_ += threads_.orphan_threads();
    return Ok();
  }

  Status WriteThread(const RequestThread& thread) {
    const int64_t token_ids = import_->sink.token_ids();
    const auto most = static_cast<size_t>(BlockTokens(token_ids) * token_ids);
    std::vector<uint16_t> ids;
    ThreadPiece block = thread.front();
    for (const ThreadPiece& piece : thread) {
      if (piece.phase != block.phase || ids.size() >= most) {
        SIM_RETURN_IF_ERROR(
            import_->sink.Add(block.phase, block.first_position, std::exchange(ids, {})));
        block = piece;
      }
      const size_t before = ids.size();
      ids.resize(before + static_cast<size_t>(piece.rows * token_ids));
      SIM_RETURN_IF_ERROR(spool_->Read(piece.first_row, std::span(ids).subspan(before)));
    }
    return import_->sink.Add(block.phase, block.first_position, std::move(ids));
  }

  const CaptureJob& job_;
  const ExpertPlacement* placement_ = nullptr;
  std::optional<TokenImport> import_;
  std::optional<RowSpool> spool_;
  RequestThreads threads_;  // of the file under way
  int64_t ambiguous_ = 0;
  int64_t orphans_ = 0;
};

}  // namespace

Result<ExpertPlacement> PlacementInForce(const CaptureJob& job, const Tree& tree) {
  if (const auto map = tree.Find(tree.root, "last_physical_to_logical_map", Kind::kTensor)) {
    SIM_TRY(ExpertPlacement placement, PlacementOfTensor(job.files[0], tree.at(*map).array));
    const Status usable = CheckPlacement(placement);
    if (usable.ok()) return placement;
    return job.files[0].At(tree.at(*map).array.offset, usable.errors()[0].message);
  }
  if (job.options.placement) return *job.options.placement;
  return job.files[0].Fail(
      "has physical ids and no last_physical_to_logical_map; give the placement that was in force");
}

Status ImportRecorderTokens(const CaptureJob& job, const std::vector<Tree>& trees) {
  return RecorderImporter(job).Run(trees);
}

Status ImportMoeCapTokens(const CaptureJob& job, const std::vector<Tree>& trees) {
  job.report.layout = "MoE-CAP tokens, torch";
  job.report.Note("the file does not say where requests begin: each file is one sequence");
  std::optional<TokenImport> import;
  for (size_t i = 0; i < trees.size(); ++i) {
    const ByteFile& file = job.files[i];
    const ArrayRef& array = trees[i].at(*trees[i].Find(trees[i].root, "topk_ids")).array;
    SIM_RETURN_IF_ERROR(CheckTensor(file, array, "topk_ids"));
    const IdShape shape{array.shape[0], array.shape[2]};
    if (!import) {
      const ExpertPlacement* placement = job.options.placement ? &*job.options.placement : nullptr;
      SIM_TRY(TokenImport begun, BeginTokens(job, shape, placement, file.name()));
      import.emplace(std::move(begun));
    }
    const IdShape& known = import->decoder.shape();
    if (shape.layers != known.layers || shape.columns != known.columns) {
      return file.At(array.offset, "is " + ShapeText(array.shape) + ", unlike the first file");
    }
    SIM_TRY(std::vector<uint16_t> ids,
            DecodeTensor(file, array, import->decoder, import->sink.token_ids()));
    import->sink.Begin(
        {.request_id = std::filesystem::path(file.name()).stem().string(), .category = {}});
    SIM_RETURN_IF_ERROR(import->sink.Add(job.options.phase, 0, std::move(ids)));
  }
  return FinishTokens(import->sink, job.report);
}

}  // namespace moecast
