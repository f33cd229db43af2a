#include "traces/import/capture_layout.h"

#include <algorithm>
#include <set>
#include <span>
#include <string>
#include <string_view>

#include "traces/formats/json_documents.h"
#include "traces/formats/torch_archive.h"
#include "traces/formats/zip.h"
#include "traces/routing_file.h"

namespace moecast {
namespace {

using Kind = TreeValue::Kind;

/// The safetensors of a folder whose names say that they hold tokens (or counts).
std::vector<std::filesystem::path> RankFiles(const std::filesystem::path& folder, bool tokens) {
  std::set<std::filesystem::path> found;  // in name order on every machine
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
    const std::string name = entry.path().filename().string();
    const bool is_rank = name.starts_with("rank") || name.starts_with("token_selected_experts");
    const bool is_tokens =
        name.starts_with("token_selected_experts") || name.ends_with("_raw.safetensors");
    if (is_rank && name.ends_with(".safetensors") && is_tokens == tokens) {
      found.insert(entry.path());
    }
  }
  return {found.begin(), found.end()};
}

bool HasResponses(const Tree& tree, const TreeValue& document) {
  if (tree.Find(document, "choices", Kind::kList)) return true;
  if (const auto info = tree.Find(document, "meta_info")) {
    if (tree.Find(*info, "routed_experts")) return true;
  }
  return tree.Find(document, "nvext", Kind::kMap).has_value();
}

bool HasHits(const Tree& tree) {
  if (tree.root.kind != Kind::kMap || tree.at(tree.root).items.size() < 2) return false;
  return tree.Find(tree.at(tree.root).items[1], "hits").has_value();
}

Result<CaptureLayout> DetectJson(const ByteFile& file) {
  JsonDocuments documents(file);
  Tree tree;
  SIM_TRY(const bool found, documents.Next(tree));
  if (!found) return file.Fail("is empty");
  TreeValue document = tree.root;
  if (document.kind == Kind::kList && !tree.at(document).items.empty()) {
    document = tree.at(document).items[0];
  }
  if (HasResponses(tree, document)) return CaptureLayout::kResponses;
  if (tree.Find(document, "top_indices")) return CaptureLayout::kMegatron;
  if (tree.Find(document, "expert_activation")) return CaptureLayout::kMoeCapSteps;
  if (HasHits(tree)) return CaptureLayout::kHitsJson;
  if (tree.Find(document, "physical_to_logical_map") || tree.Find(document, "layer_list")) {
    return file.Fail("is a placement of experts, not a capture; give it as the placement");
  }
  if (tree.Find(document, "num_experts_per_token")) {
    return file.Fail("is TensorRT-LLM's meta_info.json; give the folder it lies in");
  }
  return file.Fail(
      "is JSON of no known capture: neither choices, meta_info.routed_experts, nvext, top_indices, "
      "expert_activation nor hits are in its first document");
}

Result<CaptureLayout> DetectZip(const ByteFile& file) {
  SIM_TRY(const ZipArchive archive, ZipArchive::Open(file));
  if (IsTorchArchive(archive)) return CaptureLayout::kTorch;
  const bool has_layers = std::ranges::any_of(archive.members(), [](const ZipMember& member) {
    return member.name.starts_with("layer_") && member.name.ends_with(".npy");
  });
  if (has_layers) return CaptureLayout::kRouterLogits;
  return file.Fail("is a ZIP archive with neither a torch pickle nor arrays layer_0.npy ..");
}

}  // namespace

Result<std::vector<std::filesystem::path>> ExpandInputs(
    const std::vector<std::filesystem::path>& inputs) {
  if (inputs.empty()) return Error{"no capture was named", ""};
  std::vector<std::filesystem::path> files;
  for (const std::filesystem::path& input : inputs) {
    std::error_code ignored;
    if (!std::filesystem::is_directory(input, ignored)) {
      files.push_back(input);
      continue;
    }
    auto found = RankFiles(input, true);
    if (found.empty()) found = RankFiles(input, false);
    if (found.empty()) {
      return Error{"is a folder without TensorRT-LLM's rank0.safetensors .. ", input.string()};
    }
    files.insert(files.end(), found.begin(), found.end());
  }
  return files;
}

Result<CaptureLayout> DetectLayout(const ByteFile& file) {
  constexpr uint64_t kLookedAt = 4096;
  std::vector<char> head(std::min(file.size(), kLookedAt));
  SIM_RETURN_IF_ERROR(file.Read(0, std::span(head)));
  const std::string_view bytes(head.data(), head.size());
  if (bytes.starts_with(kRoutingMagic)) return file.Fail("is a moecast routing trace already");
  if (bytes.starts_with("\x93NUMPY")) return CaptureLayout::kNpy;
  if (bytes.starts_with("PK")) return DetectZip(file);
  constexpr size_t kSafetensorsBrace = 8;
  if (bytes.size() > kSafetensorsBrace && bytes[kSafetensorsBrace] == '{' &&
      bytes.find('\0') < kSafetensorsBrace) {
    return CaptureLayout::kTrtllm;
  }
  const size_t first = bytes.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) return file.Fail("is empty");
  if (bytes[first] == '{' || bytes[first] == '[') return DetectJson(file);
  const bool is_text = std::ranges::none_of(bytes, [](char c) {
    return static_cast<unsigned char>(c) < ' ' && c != '\n' && c != '\r' && c != '\t';
  });
  if (is_text && bytes.find(',') != std::string_view::npos) return CaptureLayout::kCountCsv;
  return file.Fail("is of no known layout: no .npy, .npz, .pt, safetensors, JSON or CSV");
}

}  // namespace moecast
