// ImportMegatron: the tokens of one step, stage and rank become a prefill sequence; training keeps
// no requests. Lines of a step come layer by layer and are put together in memory.
#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <utility>

#include "traces/formats/json_documents.h"
#include "traces/import/capture_sources.h"

namespace moecast {
namespace {

using Kind = TreeValue::Kind;
using StepKey = std::tuple<int64_t, std::string, int64_t>;  // step, stage, rank

/// One line: a layer's choices in one step.
struct Line {
  StepKey key;
  int64_t layer = 0;  // 1-based, as Megatron numbers them
  int64_t tokens = 0;
  int64_t top_k = 0;
  bool is_mtp = false;
  std::vector<int32_t> ids = {};  // [tokens][k]
  uint64_t first_number = 0;
};

/// What is wrong with a line, or the line.
Result<Line> ReadLine(const Tree& tree) {
  Line line;
  const auto step = tree.Integer(tree.root, "step");
  const auto layer = tree.Integer(tree.root, "layer");
  const auto tokens = tree.Integer(tree.root, "num_tokens");
  const auto top_k = tree.Integer(tree.root, "topk");
  const auto ids = tree.Find(tree.root, "top_indices", Kind::kIntegers);
  if (!step || !layer || !tokens || !top_k || !ids) {
    return Error{
        "must have step, layer, num_tokens, topk and top_indices, whole numbers and lists "
        "of equally many",
        ""};
  }
  const TreeNode& node = tree.at(*ids);
  if (node.shape != std::vector<int64_t>{*tokens, *top_k}) {
    return Error{"top_indices is " + ShapeText(node.shape) + ", num_tokens and topk say " +
                     ShapeText(std::vector<int64_t>{*tokens, *top_k}),
                 ""};
  }
  constexpr int64_t kMaxLayer = 10000;
  if (*layer < 1 || *layer > kMaxLayer) {
    return Error{"layer is " + std::to_string(*layer) + ", Megatron counts from 1", ""};
  }
  line.key = {*step, std::string(tree.Text(tree.root, "stage")),
              tree.Integer(tree.root, "rank").value_or(0)};
  line.layer = *layer;
  line.tokens = *tokens;
  line.top_k = *top_k;
  line.is_mtp = tree.Find(tree.root, "mtp_idx").has_value();
  const auto first = tree.integers.begin() + static_cast<std::ptrdiff_t>(node.first);
  line.ids.assign(first, first + *tokens * *top_k);
  line.first_number = node.first_number;
  return line;
}

class MegatronImporter {
 public:
  explicit MegatronImporter(const CaptureJob& job) : job_(job) {}

  Status Run() {
    job_.report.layout = "Megatron-core routing trace, JSON lines";
    job_.report.Note("training steps: each step of a rank is taken as one prefill sequence");
    for (const ByteFile& file : job_.files) {
      SIM_RETURN_IF_ERROR(RunFile(file));
      SIM_RETURN_IF_ERROR(FinishStep(file));
    }
    if (mtp_lines_ > 0) {
      job_.report.Note(std::to_string(mtp_lines_) +
                       " lines of multi-token prediction layers are left out");
    }
    if (!import_) return job_.files[0].Fail("has no routed layers");
    return FinishTokens(import_->sink, job_.report);
  }

 private:
  Status RunFile(const ByteFile& file) {
    JsonDocuments documents(file);
    Tree tree;
    while (true) {
      SIM_TRY(const bool more, documents.Next(tree));
      if (!more) return Ok();
      Result<Line> line = ReadLine(tree);
      if (!line.ok()) return file.At(documents.begin(), line.errors()[0].message);
      if (line->is_mtp) {
        ++mtp_lines_;
        continue;
      }
      SIM_RETURN_IF_ERROR(AddLine(std::move(line).value(), file, documents));
    }
  }

  Status AddLine(Line line, const ByteFile& file, const JsonDocuments& documents) {
    if (!layers_.empty() && line.key != key_) SIM_RETURN_IF_ERROR(FinishStep(file));
    const auto first = layers_.begin();
    if (first != layers_.end() &&
        (first->second.tokens != line.tokens || first->second.top_k != line.top_k)) {
      return file.At(documents.begin(), "has " + std::to_string(line.tokens) + " tokens of " +
                                            std::to_string(line.top_k) +
                                            " ids, other layers of its step have " +
                                            std::to_string(first->second.tokens) + " of " +
                                            std::to_string(first->second.top_k));
    }
    SIM_RETURN_IF_ERROR(CheckIds(line, file, documents));
    key_ = line.key;
    const int64_t layer = line.layer;
    if (!layers_.try_emplace(layer, std::move(line)).second) {
      return file.At(documents.begin(),
                     "layer " + std::to_string(layer) + " appears twice in its step");
    }
    step_begin_ = layers_.size() == 1 ? documents.begin() : step_begin_;
    return Ok();
  }

  /// Ids that no model can have, while the byte is still known.
  Status CheckIds(const Line& line, const ByteFile& file, const JsonDocuments& documents) const {
    const int64_t experts = job_.options.model.experts;
    for (size_t i = 0; i < line.ids.size(); ++i) {
      if (line.ids[i] >= -1 && (experts == 0 || line.ids[i] < experts)) continue;
      return file.At(documents.ByteOfNumber(line.first_number + i),
                     "top_indices: token " + std::to_string(static_cast<int64_t>(i) / line.top_k) +
                         ": expert " + std::to_string(line.ids[i]) +
                         " is out of range, ids are below " + std::to_string(experts));
    }
    return Ok();
  }

  /// The model layers of this step, which every step must have.
  [[nodiscard]] std::vector<int32_t> StepLayers() const {
    std::vector<int32_t> layers;
    for (const auto& [layer, line] : layers_) layers.push_back(static_cast<int32_t>(layer - 1));
    return layers;
  }

  Status Begin(const ByteFile& file) {
    CaptureOptions options = job_.options;
    const std::vector<int32_t> layers = StepLayers();
    if (!options.model.moe_layers.empty() && options.model.moe_layers != layers) {
      return file.At(step_begin_, "the step that begins here has " + std::to_string(layers.size()) +
                                      " layers, which are not the model's MoE layers");
    }
    options.model.moe_layers = layers;
    options.model.layers = 0;
    const CaptureJob job{job_.files, options, job_.out, job_.report};
    SIM_TRY(TokenImport begun, BeginTokens(job, {std::ssize(layers), layers_.begin()->second.top_k},
                                           nullptr, file.name()));
    import_.emplace(std::move(begun));
    return Ok();
  }

  Status FinishStep(const ByteFile& file) {
    if (layers_.empty()) return Ok();
    if (!import_) SIM_RETURN_IF_ERROR(Begin(file));
    const Line& any = layers_.begin()->second;
    if (StepLayers() != import_->decoder.selection().moe_layers ||
        any.top_k != import_->decoder.shape().columns) {
      return file.At(step_begin_,
                     "the step that begins here has other layers or another top-k than the first; "
                     "import ranks of one pipeline stage at a time");
    }
    std::vector<uint16_t> ids(static_cast<size_t>(any.tokens * import_->sink.token_ids()));
    int64_t moe_layer = 0;
    for (const auto& [layer, line] : layers_) {
      const std::span<const char> bytes(reinterpret_cast<const char*>(line.ids.data()),
                                        line.ids.size() * sizeof(int32_t));
      const auto fault = import_->decoder.DecodeLayer(bytes, ElementType::kI32, moe_layer++, ids);
      if (fault) return Fault(*fault, file);
    }
    if (const auto fault = import_->decoder.CheckRows(ids)) return Fault(*fault, file);
    const auto& [step, stage, rank] = key_;
    import_->sink.Begin(
        {.request_id = "step " + std::to_string(step) + " rank " + std::to_string(rank),
         .category = stage});
    layers_.clear();
    return import_->sink.Add(RoutingPhase::kPrefill, 0, std::move(ids));
  }

  Error Fault(const IdFault& fault, const ByteFile& file) const {
    const int32_t layer = import_->decoder.selection().moe_layers[static_cast<size_t>(fault.layer)];
    return file.At(step_begin_, "the step that begins here: layer " + std::to_string(layer + 1) +
                                    ", token " + std::to_string(fault.token) + ": " +
                                    fault.message);
  }

  const CaptureJob& job_;
  std::optional<TokenImport> import_;
  std::map<int64_t, Line> layers_;  // of the step under way
  StepKey key_;
  uint64_t step_begin_ = 0;
  int64_t mtp_lines_ = 0;
};

}  // namespace

Status ImportMegatron(const CaptureJob& job) { return MegatronImporter(job).Run(); }

}  // namespace moecast
