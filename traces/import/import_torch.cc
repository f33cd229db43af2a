// ImportTorch: what SGLang's recorder and MoE-CAP save with torch.save. Ids and counts of SGLang's
// passes are of physical slots; the placement in force is in the file.
#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "traces/formats/torch_archive.h"
#include "traces/import/capture_sources.h"
#include "traces/import/count_sink.h"
#include "traces/import/recorder_tokens.h"

namespace moecast {
namespace {

using Kind = TreeValue::Kind;

/// SGLang's stat and stat_approx: logical_count [steps, layers, experts], already summed over
/// ranks.
Status ImportStat(const CaptureJob& job, const std::vector<Tree>& trees) {
  job.report.layout = "SGLang expert distribution recorder, stat";
  std::optional<CountSink> sink;
  job.report.level = RoutingLevel::kTotalCounts;
  for (size_t i = 0; i < trees.size(); ++i) {
    const auto found = trees[i].Find(trees[i].root, "logical_count", Kind::kTensor);
    const ArrayRef array = found ? trees[i].at(*found).array : ArrayRef{};
    if (array.shape.size() != 3 || !IsInteger(array.type)) {
      return job.files[i].Fail("logical_count is no integer tensor [steps, layers, experts]");
    }
    if (array.shape[0] > 1) job.report.level = RoutingLevel::kPassCounts;
    if (!sink) {
      SIM_TRY(CountSink begun, CountSink::Create(job, {array.shape[1], array.shape[2]}, nullptr));
      sink.emplace(std::move(begun));
    }
    const std::string stem = std::filesystem::path(job.files[i].name()).stem().string();
    SIM_RETURN_IF_ERROR(
        sink->AddArray(job.files[i], array, stem + (array.shape[0] > 1 ? " step " : "")));
  }
  return sink->Finish();
}

/// A pass's counts in one rank's file.
struct PassPart {
  size_t file = 0;
  ArrayRef array = {};
};

/// SGLang's per_pass: global_physical_count [layers, slots] per pass and rank, to be summed.
Status ImportPasses(const CaptureJob& job, const std::vector<Tree>& trees) {
  job.report.layout = "SGLang expert distribution recorder, per_pass";
  job.report.level = RoutingLevel::kPassCounts;
  std::map<int64_t, std::vector<PassPart>> passes;
  for (size_t i = 0; i < trees.size(); ++i) {
    const Tree& tree = trees[i];
    for (const TreeValue& record : tree.at(*tree.Find(tree.root, "records")).items) {
      const auto pass = tree.Integer(record, "forward_pass_id");
      const auto counts = tree.Find(record, "global_physical_count", Kind::kTensor);
      if (!pass || !counts || tree.at(*counts).array.shape.size() != 2) {
        return job.files[i].Fail(
            "every record must have forward_pass_id and a tensor global_physical_count [layers, "
            "slots]");
      }
      passes[*pass].push_back({i, tree.at(*counts).array});
    }
  }
  if (passes.empty()) return job.files[0].Fail("has no recorded passes");
  SIM_TRY(const ExpertPlacement placement, PlacementInForce(job, trees[0]));
  const std::vector<int64_t> shape = passes.begin()->second[0].array.shape;
  SIM_TRY(CountSink sink, CountSink::Create(job, {shape[0], shape[1]}, &placement));
  for (const auto& [pass, parts] : passes) {
    std::vector<uint64_t> sum(static_cast<size_t>(shape[0] * shape[1]));
    for (const PassPart& part : parts) {
      const ByteFile& file = job.files[part.file];
      if (part.array.shape != shape) {
        return file.At(part.array.offset, "pass " + std::to_string(pass) + " has counts " +
                                              ShapeText(part.array.shape) + ", others have " +
                                              ShapeText(shape));
      }
      SIM_TRY(const std::vector<uint64_t> counts, ReadCounts(file, part.array, 0, std::ssize(sum)));
      for (size_t i = 0; i < sum.size(); ++i) sum[i] += counts[i];
    }
    SIM_RETURN_IF_ERROR(sink.Add(std::to_string(pass), std::nullopt, sum));
  }
  if (trees.size() > 1) job.report.Note("counts are summed over the ranks' files, pass by pass");
  return sink.Finish();
}

bool HasRecordsWith(const Tree& tree, std::string_view key) {
  const auto records = tree.Find(tree.root, "records", Kind::kList);
  if (!records || tree.at(*records).items.empty()) return false;
  return tree.Find(tree.at(*records).items[0], key, Kind::kTensor).has_value();
}

enum class Content { kStat, kPasses, kTokens, kMoeCapTokens };

Result<Content> ContentOf(const ByteFile& file, const Tree& tree) {
  if (tree.Find(tree.root, "logical_count")) return Content::kStat;
  if (HasRecordsWith(tree, "topk_ids_of_layer")) return Content::kTokens;
  if (HasRecordsWith(tree, "global_physical_count")) return Content::kPasses;
  if (tree.Find(tree.root, "topk_ids", Kind::kTensor)) return Content::kMoeCapTokens;
  return file.Fail(
      "is a torch file of no known capture: neither logical_count, records with topk_ids_of_layer "
      "or global_physical_count, nor topk_ids are in it");
}

}  // namespace

Status ImportTorch(const CaptureJob& job) {
  std::vector<Tree> trees;
  std::optional<Content> content;
  for (const ByteFile& file : job.files) {
    SIM_TRY(const ZipArchive archive, ZipArchive::Open(file));
    SIM_RETURN_IF_ERROR(ReadTorchArchive(archive, trees.emplace_back()));
    SIM_TRY(const Content found, ContentOf(file, trees.back()));
    if (content && *content != found) return file.Fail("is of another kind than the first file");
    content = found;
  }
  if (content == Content::kStat) return ImportStat(job, trees);
  if (content == Content::kPasses) return ImportPasses(job, trees);
  return content == Content::kTokens ? ImportRecorderTokens(job, trees)
                                     : ImportMoeCapTokens(job, trees);
}

}  // namespace moecast
