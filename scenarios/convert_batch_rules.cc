// Rules of expert selection that look at a whole step.
#include <cmath>
#include <filesystem>
#include <memory>
#include <utility>

#include "experts.pb.h"
#include "scenarios/convert_rules.h"
#include "scenarios/similarity_file.h"
#include "sim/base/files.h"
#include "sim/base/text.h"

namespace moecast {
namespace {

BatchScope ConvertRows(pb::BatchScope::Rows in) {
  switch (in) {
    case pb::BatchScope::decode_rows:
      return BatchScope::kDecodeRows;
    case pb::BatchScope::all:
      return BatchScope::kAllRows;
    default:
      return BatchScope::kDecodeSteps;
  }
}

BatchRule Scoped(BatchRule::Kind kind, const pb::BatchScope& scope) {
  return {.kind = std::move(kind),
          .scope = ConvertRows(scope.rows()),
          .most_tokens = scope.max_tokens()};
}

BatchRule ConvertOea(const pb::Oea& in, const RuleReader& reader) {
  reader.AtMostTopK(in.base_k(), "base_k");
  if (in.has_most_k()) {
    reader.AtMostTopK(in.most_k(), "most_k");
    if (in.most_k() < in.base_k()) {
      reader.Report("most_k", "must be at least base_k (" + std::to_string(in.base_k()) +
                                  "), got " + std::to_string(in.most_k()));
    }
  }
  if (in.has_max_rank()) {
    reader.AtMostExperts(in.max_rank(), "max_rank");
    if (in.max_rank() < in.base_k()) {
      reader.Report("max_rank", "must be at least base_k (" + std::to_string(in.base_k()) +
                                    "), got " + std::to_string(in.max_rank()));
    }
  }
  return Scoped(Oea{.base_k = in.base_k(), .most_k = in.most_k(), .max_rank = in.max_rank()},
                in.scope());
}

BatchRule ConvertXShare(const pb::XShare& in, const RuleReader& reader) {
  reader.AtMostExperts(in.budget(), "budget");
  return Scoped(XShare{.budget = in.budget()}, in.scope());
}

BatchRule ConvertSere(const pb::Sere& in, const RuleReader& reader) {
  reader.AtMostTopK(in.primary(), "primary");
  const std::vector<int32_t> moe_layers = reader.MoeLayers();
  std::vector<SimilarPair> pairs;
  const Result<std::string> text = ReadFile(in.similarity());
  if (!text.ok()) {
    reader.Report("similarity", text.errors());
  } else {
    auto parsed = ParseSimilarity(*text, in.similarity(),
                                  {.moe_layers = moe_layers, .experts = reader.model.moe->experts});
    if (parsed.ok()) {
      pairs = std::move(parsed).value();
    } else {
      reader.Report("similarity", parsed.errors());
    }
  }
  return Scoped(
      Sere{.primary = in.primary(),
           .similarity = std::make_shared<const ExpertSimilarity>(
               std::ssize(moe_layers), reader.model.moe->experts, std::move(pairs), in.least())},
      in.scope());
}

BatchRule ConvertAllocTokens(const pb::AllocTokens& in, const RuleReader& reader) {
  reader.AtMostTopK(in.base_k(), "base_k");
  const auto top_k = static_cast<double>(reader.model.moe->top_k);
  for (int i = 0; i < in.mean_k_size(); ++i) {
    const double mean = in.mean_k(i);
    if (mean >= static_cast<double>(in.base_k()) && mean <= top_k) continue;
    reader.Report("mean_k." + std::to_string(i),
                  "must be from base_k (" + std::to_string(in.base_k()) +
                      ") to the model's top_k (" + std::to_string(reader.model.moe->top_k) +
                      "), got " + ShortestDouble(mean));
  }
  return Scoped(
      AllocTokens{.mean_k = reader.PerLayer(in.mean_k(), "mean_k"), .base_k = in.base_k()},
      in.scope());
}

EacPrefill ConvertEac(const pb::EacPrefill& in, const RuleReader& reader) {
  const MoeSpec& moe = *reader.model.moe;
  const double most = static_cast<double>(moe.experts) / static_cast<double>(moe.top_k);
  if (in.threshold() > most) {
    reader.Report("threshold", "must be at most experts / top_k (" + ShortestDouble(most) +
                                   "), where every expert is left out, got " +
                                   ShortestDouble(in.threshold()));
  }
  return {.threshold = in.threshold()};
}

}  // namespace

std::optional<ExpertRule> ConvertStepRule(const pb::Experts& in, const RuleReader& reader) {
  switch (in.kind_case()) {
    case pb::Experts::kOea:
      return ConvertOea(in.oea(), reader.Below("oea"));
    case pb::Experts::kXshare:
      return ConvertXShare(in.xshare(), reader.Below("xshare"));
    case pb::Experts::kLynx:
      return Scoped(Lynx{.mass = in.lynx().mass(),
                         .sharpness = in.lynx().sharpness(),
                         .bins = in.lynx().bins(),
                         .base = in.lynx().base()},
                    in.lynx().scope());
    case pb::Experts::kSere:
      return ConvertSere(in.sere(), reader.Below("sere"));
    case pb::Experts::kAllocTokens:
      return ConvertAllocTokens(in.alloc_tokens(), reader.Below("alloc_tokens"));
    case pb::Experts::kEacPrefill:
      return ConvertEac(in.eac_prefill(), reader.Below("eac_prefill"));
    default:
      return std::nullopt;
  }
}

}  // namespace moecast
