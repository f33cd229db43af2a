// ImportTrtllm: TensorRT-LLM's expert statistics. Arrays are called "{iteration}_{layer}":
// [experts] counts of one rank, or with the raw variants [tokens, k] ids of one rank.
#include <algorithm>
#include <charconv>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "traces/formats/json_documents.h"
#include "traces/formats/safetensors.h"
#include "traces/import/capture_sources.h"
#include "traces/import/count_sink.h"

namespace moecast {
namespace {

/// One rank's file: [iteration][model layer].
using RankArrays = std::map<int64_t, std::map<int32_t, ArrayRef>>;

/// "100_7" as (100, 7).
std::optional<std::pair<int64_t, int32_t>> ParseName(std::string_view name) {
  const char* const end = name.data() + name.size();
  std::pair<int64_t, int32_t> parsed;
  const auto [middle, error] = std::from_chars(name.data(), end, parsed.first);
  if (error != std::errc() || middle == end || *middle != '_') return std::nullopt;
  const auto [last, layer_error] = std::from_chars(middle + 1, end, parsed.second);
  constexpr int32_t kMaxLayer = 10000;
  const bool good = layer_error == std::errc() && last == end && parsed.first >= 0 &&
                    parsed.second >= 0 && parsed.second <= kMaxLayer;
  return good ? std::optional(parsed) : std::nullopt;
}

Result<RankArrays> ReadRank(const ByteFile& file) {
  SIM_TRY(const auto arrays, ReadSafetensors(file));
  RankArrays rank;
  for (const auto& [name, array] : arrays) {
    const auto place = ParseName(name);
    if (!place) {
      return file.Fail("array '" + name + "' is not called {iteration}_{layer}");
    }
    if (!IsInteger(array.type) || array.shape.empty() || array.shape.size() > 2) {
      return file.At(array.offset, "array '" + name + "' is " + std::string(Name(array.type)) +
                                       ShapeText(array.shape) +
                                       ", it must be [experts] counts or [tokens, k] ids");
    }
    rank[place->first][place->second] = array;
  }
  if (rank.empty()) return file.Fail("has no arrays");
  return rank;
}

std::vector<int32_t> LayersOf(const std::map<int32_t, ArrayRef>& iteration) {
  std::vector<int32_t> layers;
  for (const auto& [layer, array] : iteration) layers.push_back(layer);
  return layers;
}

/// Every iteration of every rank must have the first one's layers and dimensions.
Status CheckAlike(const CaptureJob& job, const std::vector<RankArrays>& ranks) {
  const auto& first = ranks[0].begin()->second;
  const std::vector<int32_t> layers = LayersOf(first);
  const std::vector<int64_t>& shape = first.begin()->second.shape;
  for (size_t r = 0; r < ranks.size(); ++r) {
    for (const auto& [iteration, arrays] : ranks[r]) {
      const std::string name = "iteration " + std::to_string(iteration);
      if (!ranks[0].contains(iteration) || ranks[r].size() != ranks[0].size()) {
        return job.files[r].Fail("has other iterations than " + job.files[0].name());
      }
      if (LayersOf(arrays) != layers) {
        return job.files[r].Fail(name + " has other layers than the first");
      }
      for (const auto& [layer, array] : arrays) {
        const bool alike = array.shape.size() == shape.size() && array.shape.back() == shape.back();
        if (alike) continue;
        return job.files[r].At(array.offset, name + ", layer " + std::to_string(layer) + " is " +
                                                 ShapeText(array.shape) + ", others are " +
                                                 ShapeText(shape));
      }
    }
  }
  return Ok();
}

/// What meta_info.json beside the files says, checked against the model.
Status ReadMeta(const CaptureJob& job, CaptureModel& model) {
  const auto path = std::filesystem::path(job.files[0].name()).parent_path() / "meta_info.json";
  if (!std::filesystem::exists(path)) {
    job.report.Note("no meta_info.json beside the files");
    return Ok();
  }
  SIM_TRY(const ByteFile file, ByteFile::Open(path));
  JsonDocuments documents(file);
  Tree tree;
  SIM_TRY(const bool found, documents.Next(tree));
  const auto experts = tree.Integer(tree.root, "num_experts");
  const auto top_k = tree.Integer(tree.root, "num_experts_per_token");
  if (!found || !experts || !top_k || *experts < 1 || *top_k < 1) {
    return file.Fail("must have num_experts and num_experts_per_token");
  }
  const auto agrees = [](int64_t known, int64_t meta) { return known == 0 || known == meta; };
  if (!agrees(model.experts, *experts) || !agrees(model.top_k, *top_k)) {
    return file.Fail("says " + std::to_string(*experts) + " experts, top-" +
                     std::to_string(*top_k) + "; the model has " + std::to_string(model.experts) +
                     ", top-" + std::to_string(model.top_k));
  }
  model.experts = *experts;
  model.top_k = *top_k;
  return Ok();
}

Status ImportCounts(const CaptureJob& job, const std::vector<RankArrays>& ranks) {
  job.report.layout = "TensorRT-LLM expert statistics, counts per iteration and rank";
  job.report.level = RoutingLevel::kPassCounts;
  const std::vector<int32_t> layers = LayersOf(ranks[0].begin()->second);
  const int64_t experts = ranks[0].begin()->second.begin()->second.shape[0];
  SIM_TRY(CountSink sink, CountSink::CreateForLayers(job, layers, experts));
  for (const auto& [iteration, unused] : ranks[0]) {
    std::vector<uint64_t> sum;
    for (const int32_t layer : layers) {
      std::vector<uint64_t> of_layer(static_cast<size_t>(experts));
      for (size_t r = 0; r < ranks.size(); ++r) {
        const ArrayRef& array = ranks[r].at(iteration).at(layer);
        SIM_TRY(const std::vector<uint64_t> counts, ReadCounts(job.files[r], array, 0, experts));
        for (size_t i = 0; i < counts.size(); ++i) of_layer[i] += counts[i];
      }
      sum.insert(sum.end(), of_layer.begin(), of_layer.end());
    }
    SIM_RETURN_IF_ERROR(sink.Add(std::to_string(iteration), std::nullopt, sum));
  }
  job.report.Note("counts are summed over " + std::to_string(ranks.size()) + " ranks");
  return sink.Finish();
}

/// The tokens of one rank in one iteration.
struct RankIteration {
  const ByteFile& file;
  const std::map<int32_t, ArrayRef>& arrays;
};

Result<std::vector<uint16_t>> DecodeIteration(const RankIteration& from,
                                              const TokenImport& import) {
  const int64_t tokens = from.arrays.begin()->second.shape[0];
  std::vector<uint16_t> ids(static_cast<size_t>(tokens * import.sink.token_ids()));
  const auto wrong = [&](const IdFault& fault) {
    const auto found = std::next(from.arrays.begin(), fault.layer);
    const ArrayRef& array = found->second;
    const auto index = static_cast<uint64_t>(fault.token * array.shape[1] + fault.column);
    return from.file.At(array.offset + index * ElementBytes(array.type),
                        "layer " + std::to_string(found->first) + ", token " +
                            std::to_string(fault.token) + ": " + fault.message);
  };
  int64_t moe_layer = 0;
  for (const auto& [layer, array] : from.arrays) {
    if (array.shape[0] != tokens) {
      return from.file.At(array.offset, "layer " + std::to_string(layer) + " has " +
                                            std::to_string(array.shape[0]) +
                                            " tokens, others of its iteration have " +
                                            std::to_string(tokens));
    }
    const auto bytes = static_cast<uint64_t>(*ElementCount(array.shape)) * ElementBytes(array.type);
    SIM_TRY(const std::string raw, from.file.Read(array.offset, bytes));
    const auto fault = import.decoder.DecodeLayer(raw, array.type, moe_layer, ids);
    if (fault) return wrong(*fault);
    ++moe_layer;
  }
  if (const auto fault = import.decoder.CheckRows(ids)) return wrong(*fault);
  return ids;
}

Status ImportTokens(const CaptureJob& job, const std::vector<RankArrays>& ranks) {
  job.report.layout = "TensorRT-LLM expert statistics, ids of every token";
  job.report.Note(
      "the files do not say where requests begin: each iteration of a rank is one "
      "sequence");
  job.report.Note(std::string("nor which phase tokens are of: all are taken as ") +
                  (job.options.phase == RoutingPhase::kPrefill ? "prefill" : "decode"));
  const auto& first = ranks[0].begin()->second;
  SIM_TRY(TokenImport import, BeginTokens(job, {std::ssize(first), first.begin()->second.shape[1]},
                                          nullptr, job.files[0].name()));
  for (size_t r = 0; r < ranks.size(); ++r) {
    for (const auto& [iteration, arrays] : ranks[r]) {
      SIM_TRY(std::vector<uint16_t> ids, DecodeIteration({job.files[r], arrays}, import));
      import.sink.Begin(
          {.request_id = "iteration " + std::to_string(iteration) + " rank " + std::to_string(r),
           .category = {}});
      SIM_RETURN_IF_ERROR(import.sink.Add(job.options.phase, 0, std::move(ids)));
    }
  }
  return FinishTokens(import.sink, job.report);
}

}  // namespace

Status ImportTrtllm(const CaptureJob& job) {
  std::vector<RankArrays> ranks;
  for (const ByteFile& file : job.files) {
    SIM_TRY(RankArrays rank, ReadRank(file));
    ranks.push_back(std::move(rank));
  }
  SIM_RETURN_IF_ERROR(CheckAlike(job, ranks));
  CaptureOptions options = job.options;
  SIM_RETURN_IF_ERROR(ReadMeta(job, options.model));
  const std::vector<int32_t> layers = LayersOf(ranks[0].begin()->second);
  if (!options.model.moe_layers.empty() && options.model.moe_layers != layers) {
    return job.files[0].Fail("has " + std::to_string(layers.size()) +
                             " layers, which are not the model's MoE layers");
  }
  options.model.moe_layers = layers;
  options.model.layers = 0;
  const CaptureJob named{job.files, options, job.out, job.report};
  const bool counts = ranks[0].begin()->second.begin()->second.shape.size() == 1;
  return counts ? ImportCounts(named, ranks) : ImportTokens(named, ranks);
}

}  // namespace moecast
