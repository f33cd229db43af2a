// ImportRouterLogits: .npz with layer_{i}.npy [tokens, experts] or [sequences, tokens, experts] of
// Hugging Face router logits, and bias_{i}.npy [experts] where the model has a correction bias.
#include <algorithm>
#include <charconv>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "traces/formats/npy.h"
#include "traces/formats/zip.h"
#include "traces/import/capture_sources.h"
#include "traces/import/router_rule.h"

namespace moecast {
namespace {

/// A .npy member read from front to back.
struct MemberArray {
  const ZipMember* member = nullptr;
  ArrayRef array;  // its offset counts from the member's first content byte
  ZipStream stream;
};

Result<MemberArray> OpenArray(const ByteFile& file, const ZipMember& member) {
  constexpr uint64_t kHead = kMaxNpyHeaderBytes + 64;
  std::string head(std::min(member.size, kHead), '\0');
  ZipStream looking(file, member);
  SIM_RETURN_IF_ERROR(looking.Read(std::span(head)));
  const ByteFile content =
      ByteFile::OfBytes(std::move(head), file.name() + ": " + member.name + ", uncompressed");
  SIM_TRY(const ArrayRef array, ReadNpyHeader(content, 0, member.size));
  ZipStream stream(file, member);
  std::string skipped(array.offset, '\0');
  SIM_RETURN_IF_ERROR(stream.Read(std::span(skipped)));
  return MemberArray{&member, array, std::move(stream)};
}

/// "layer_7.npy" with prefix "layer_" as 7.
std::optional<int32_t> LayerNumber(std::string_view name, std::string_view prefix) {
  constexpr std::string_view kSuffix = ".npy";
  if (!name.starts_with(prefix) || !name.ends_with(kSuffix)) return std::nullopt;
  const std::string_view digits =
      name.substr(prefix.size(), name.size() - prefix.size() - kSuffix.size());
  int32_t number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  const bool good = error == std::errc() && end == digits.data() + digits.size() && number >= 0;
  return good ? std::optional(number) : std::nullopt;
}

class LogitsImporter {
 public:
  LogitsImporter(const CaptureJob& job, const ByteFile& file, RouterRule rule)
      : job_(job), file_(file), rule_(std::move(rule)) {}

  /// The model layers of the file's arrays.
  Result<std::vector<int32_t>> Open(const ZipArchive& archive) {
    std::map<int32_t, const ZipMember*> layers;
    for (const ZipMember& member : archive.members()) {
      if (const auto number = LayerNumber(member.name, "layer_")) layers[*number] = &member;
    }
    std::vector<int32_t> numbers;
    for (const auto& [number, member] : layers) {
      SIM_TRY(MemberArray array, OpenArray(file_, *member));
      layers_.push_back(std::move(array));
      numbers.push_back(number);
      SIM_RETURN_IF_ERROR(CheckShape(layers_.back()));
      SIM_RETURN_IF_ERROR(ReadBias(archive, number));
    }
    return numbers;
  }

  /// Sequences x tokens of each.
  [[nodiscard]] std::pair<int64_t, int64_t> Extent() const {
    const std::vector<int64_t>& shape = layers_[0].array.shape;
    return shape.size() == 3 ? std::pair(shape[0], shape[1]) : std::pair(int64_t{1}, shape[0]);
  }

  Status Copy(TokenSink& sink) {
    const auto [sequences, tokens] = Extent();
    const std::string stem = std::filesystem::path(file_.name()).stem().string();
    const int64_t block = BlockTokens(sink.token_ids());
    for (int64_t sequence = 0; sequence < sequences; ++sequence) {
      sink.Begin({.request_id = stem + (sequences > 1 ? "/" + std::to_string(sequence) : ""),
                  .category = {}});
      for (int64_t first = 0; first < tokens; first += block) {
        SIM_RETURN_IF_ERROR(CopyBlock(sink, first, std::min(block, tokens - first)));
      }
    }
    return Ok();
  }

 private:
  Status CheckShape(const MemberArray& layer) const {
    const std::vector<int64_t>& shape = layer.array.shape;
    const bool rank = shape.size() == 2 || shape.size() == 3;
    if (rank && shape.back() == job_.options.model.experts && !IsInteger(layer.array.type) &&
        shape == layers_[0].array.shape) {
      return Ok();
    }
    return file_.At(layer.member->offset,
                    layer.member->name + " is " + std::string(Name(layer.array.type)) +
                        ShapeText(shape) + ", it must be floats [tokens, " +
                        std::to_string(job_.options.model.experts) +
                        "] or [sequences, tokens, experts], alike in all layers");
  }

  Status ReadBias(const ZipArchive& archive, int32_t layer) {
    std::vector<double>& bias = bias_.emplace_back();
    if (!rule_.needs_bias()) return Ok();
    const std::string name = "bias_" + std::to_string(layer) + ".npy";
    const ZipMember* member = archive.Find(name);
    if (member == nullptr) {
      return file_.Fail(
          "the model corrects its scores by a bias per expert that logits do not "
          "hold: ids cannot be told without " +
          name + " [experts]; capture the gate's output instead");
    }
    SIM_TRY(MemberArray array, OpenArray(file_, *member));
    if (array.array.shape != std::vector<int64_t>{job_.options.model.experts}) {
      return file_.At(member->offset, name + " is " + ShapeText(array.array.shape) +
                                          ", it must be [" +
                                          std::to_string(job_.options.model.experts) + "]");
    }
    bias.resize(static_cast<size_t>(job_.options.model.experts));
    return ReadDoubles(array, bias);
  }

  Status ReadDoubles(MemberArray& from, std::vector<double>& values) {
    bytes_.resize(values.size() * ElementBytes(from.array.type));
    SIM_RETURN_IF_ERROR(from.stream.Read(std::span(bytes_)));
    ToDoubles(bytes_, from.array.type, values);
    return Ok();
  }

  Status CopyBlock(TokenSink& sink, int64_t first, int64_t tokens) {
    const auto top_k = static_cast<size_t>(sink.header().top_k);
    const auto experts = static_cast<size_t>(sink.header().experts);
    const auto token_ids = static_cast<size_t>(sink.token_ids());
    std::vector<uint16_t> ids(static_cast<size_t>(tokens) * token_ids);
    std::vector<float> scores(rule_.has_scores() ? ids.size() : 0);
    std::vector<double> logits(static_cast<size_t>(tokens) * experts);
    for (size_t layer = 0; layer < layers_.size(); ++layer) {
      SIM_RETURN_IF_ERROR(ReadDoubles(layers_[layer], logits));
      for (size_t token = 0; token < static_cast<size_t>(tokens); ++token) {
        const size_t at = token * token_ids + layer * top_k;
        const bool ranked =
            rule_.Rank(std::span(logits).subspan(token * experts, experts), bias_[layer],
                       std::span(ids).subspan(at, top_k),
                       scores.empty() ? std::span<float>() : std::span(scores).subspan(at, top_k));
        if (ranked) continue;
        return file_.At(layers_[layer].member->offset,
                        layers_[layer].member->name + ": token " +
                            std::to_string(first + static_cast<int64_t>(token)) +
                            " has a logit that is no number");
      }
    }
    return sink.Add(job_.options.phase, first, std::move(ids), std::move(scores));
  }

  const CaptureJob& job_;
  const ByteFile& file_;
  RouterRule rule_;
  std::vector<MemberArray> layers_;
  std::vector<std::vector<double>> bias_;  // [layer][expert], empty without a bias
  std::string bytes_;
};

/// Arrays are numbered by model layer, or from 0 by MoE layer.
Result<LayerSelection> Layers(const CaptureJob& job, const std::vector<int32_t>& numbers) {
  const std::vector<int32_t>& moe_layers = job.options.model.moe_layers;
  LayerSelection selection;
  for (size_t i = 0; i < numbers.size(); ++i) selection.rows.push_back(static_cast<int64_t>(i));
  selection.moe_layers = moe_layers.empty() ? numbers : moe_layers;
  if (moe_layers.empty() || numbers == moe_layers) return selection;
  if (numbers.size() != moe_layers.size() || numbers.front() != 0 ||
      numbers.back() + 1 != std::ssize(numbers)) {
    return job.files[0].Fail("has " + std::to_string(numbers.size()) +
                             " arrays layer_N.npy; the model's MoE layers are " +
                             std::to_string(moe_layers.size()) + " others");
  }
  job.report.Note("arrays are numbered by MoE layer, not by model layer");
  return selection;
}

}  // namespace

Status ImportRouterLogits(const CaptureJob& job) {
  job.report.layout = "Hugging Face router logits, .npz, experts ranked by the model's rule";
  Result<RouterRule> rule = RouterRule::Make(job.options.model);
  if (!rule.ok()) return job.files[0].Fail(rule.errors()[0].message);
  std::optional<TokenSink> sink;
  for (const ByteFile& file : job.files) {
    SIM_TRY(const ZipArchive archive, ZipArchive::Open(file));
    LogitsImporter importer(job, file, *rule);
    SIM_TRY(const std::vector<int32_t> numbers, importer.Open(archive));
    SIM_TRY(const LayerSelection selection, Layers(job, numbers));
    if (!sink) {
      RoutingHeader capture;
      capture.source = job.report.layout;
      capture.moe_layers = selection.moe_layers;
      capture.has_scores = rule->has_scores();
      SIM_TRY(const RoutingHeader header, CaptureHeader(job.options.model, capture, file.name()));
      SIM_TRY(TokenSink created, TokenSink::Create(job.out, header));
      sink.emplace(std::move(created));
    }
    if (selection.moe_layers != sink->header().moe_layers) {
      return file.Fail("has other layers than " + job.files[0].name());
    }
    SIM_RETURN_IF_ERROR(importer.Copy(*sink));
  }
  job.report.Note("logits do not say prompt from answer: all tokens are taken as " +
                  std::string(job.options.phase == RoutingPhase::kPrefill ? "prefill" : "decode"));
  return FinishTokens(*sink, job.report);
}

}  // namespace moecast
