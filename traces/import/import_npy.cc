// ImportNpy: integers [tokens, layers, k] are ids, one sequence per file (vLLM's and SGLang's
// offline results saved by numpy.save); numbers [sequences, layers, experts] are counts of
// sequences (MoE-Infinity); [layers, experts] are total counts.
#include <algorithm>
#include <string>
#include <utility>

#include "traces/count_table.h"
#include "traces/formats/npy.h"
#include "traces/import/capture_sources.h"
#include "traces/import/count_sink.h"

namespace moecast {
namespace {

bool IsCounts(const ArrayRef& array, const CaptureModel& model) {
  if (array.shape.size() == 2 || !IsInteger(array.type)) return true;
  return model.experts > 0 && model.top_k != model.experts && array.shape[2] == model.experts;
}

Error Fault(const IdFault& fault, const ByteFile& file, const ArrayRef& array,
            int64_t first_token) {
  const int64_t index =
      ((first_token + fault.token) * array.shape[1] + fault.layer) * array.shape[2] + fault.column;
  return file.At(array.offset + static_cast<uint64_t>(index) * ElementBytes(array.type),
                 "token " + std::to_string(first_token + fault.token) + ", layer " +
                     std::to_string(fault.layer) + ": " + fault.message);
}

Status ImportIdsFile(const CaptureJob& job, const ByteFile& file, const ArrayRef& array,
                     TokenImport& import) {
  const IdShape& shape = import.decoder.shape();
  if (array.shape[1] != shape.layers || array.shape[2] != shape.columns) {
    return file.At(array.offset, "is " + ShapeText(array.shape) + ", the first file has " +
                                     std::to_string(shape.layers) + " layers of " +
                                     std::to_string(shape.columns) + " ids");
  }
  import.sink.Begin(
      {.request_id = std::filesystem::path(file.name()).stem().string(), .category = {}});
  const int64_t token_elements = shape.layers * shape.columns;
  const int64_t block = BlockTokens(token_elements);
  const auto token_bytes = static_cast<uint64_t>(token_elements) * ElementBytes(array.type);
  std::string bytes;
  std::vector<uint16_t> ids;
  for (int64_t first = 0; first < array.shape[0]; first += block) {
    const int64_t tokens = std::min(block, array.shape[0] - first);
    bytes.resize(static_cast<uint64_t>(tokens) * token_bytes);
    SIM_RETURN_IF_ERROR(
        file.Read(array.offset + static_cast<uint64_t>(first) * token_bytes, std::span(bytes)));
    const auto fault = import.decoder.Decode(bytes, array.type, tokens, ids);
    if (fault) return Fault(*fault, file, array, first);
    SIM_RETURN_IF_ERROR(import.sink.Add(job.options.phase, first, std::move(ids)));
  }
  return Ok();
}

Status ImportIds(const CaptureJob& job, const std::vector<ArrayRef>& arrays) {
  const ArrayRef& first = arrays[0];
  job.report.layout = "expert ids, .npy " + std::string(Name(first.type)) + " [tokens, " +
                      std::to_string(first.shape[1]) + ", " + std::to_string(first.shape[2]) + "]";
  job.report.Note(
      std::string("the array does not say prompt from answer: all tokens are taken as ") +
      (job.options.phase == RoutingPhase::kPrefill ? "prefill" : "decode"));
  SIM_TRY(TokenImport import,
          BeginTokens(job, {first.shape[1], first.shape[2]}, nullptr, job.files[0].name()));
  for (size_t i = 0; i < arrays.size(); ++i) {
    SIM_RETURN_IF_ERROR(ImportIdsFile(job, job.files[i], arrays[i], import));
  }
  return FinishTokens(import.sink, job.report);
}

Status ImportCounts(const CaptureJob& job, std::vector<ArrayRef> arrays) {
  const bool total = arrays[0].shape.size() == 2;
  job.report.layout = total ? "expert counts, .npy [layers, experts]"
                            : "MoE-Infinity activation counts, .npy [sequences, layers, experts]";
  job.report.level = total ? RoutingLevel::kTotalCounts : RoutingLevel::kPassCounts;
  std::optional<CountSink> sink;
  for (size_t i = 0; i < arrays.size(); ++i) {
    ArrayRef& array = arrays[i];
    if (array.shape.size() == 2) array.shape.insert(array.shape.begin(), 1);
    if (!sink) {
      SIM_TRY(CountSink begun, CountSink::Create(job, {array.shape[1], array.shape[2]}, nullptr));
      sink.emplace(std::move(begun));
    }
    const std::string stem = std::filesystem::path(job.files[i].name()).stem().string();
    SIM_RETURN_IF_ERROR(sink->AddArray(job.files[i], array, stem + (total ? "" : " sequence ")));
  }
  return sink->Finish();
}

}  // namespace

Status ImportNpy(const CaptureJob& job) {
  std::vector<ArrayRef> arrays;
  for (const ByteFile& file : job.files) {
    SIM_TRY(ArrayRef array, ReadNpyHeader(file, 0, file.size()));
    if (array.shape.size() != 2 && array.shape.size() != 3) {
      return file.At(array.offset, "the array is " + ShapeText(array.shape) +
                                       ", read are [tokens, layers, k] ids, [sequences, layers, "
                                       "experts] and [layers, experts] counts");
    }
    arrays.push_back(std::move(array));
    if (arrays.back().shape.size() != arrays[0].shape.size() ||
        IsCounts(arrays.back(), job.options.model) != IsCounts(arrays[0], job.options.model)) {
      return file.At(arrays.back().offset, "the array is of another kind than the first file's");
    }
  }
  return IsCounts(arrays[0], job.options.model) ? ImportCounts(job, std::move(arrays))
                                                : ImportIds(job, arrays);
}

}  // namespace moecast
