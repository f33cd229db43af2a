#include <algorithm>
#include <cmath>

#include "formats.pb.h"
#include "model.pb.h"
#include "scenarios/convert.h"
#include "sim/base/text.h"

namespace moecast {
namespace {

ComputeClass ConvertCompute(pb::Format::Compute in) {
  switch (in) {
    case pb::Format::fp8:
      return ComputeClass::kFp8;
    case pb::Format::int8:
      return ComputeClass::kInt8;
    case pb::Format::fp4:
      return ComputeClass::kFp4;
    case pb::Format::int4:
      return ComputeClass::kInt4;
    case pb::Format::hif8:
      return ComputeClass::kHif8;
    case pb::Format::hif4:
      return ComputeClass::kHif4;
    default:
      return ComputeClass::kBf16;
  }
}

/// Where the layout of a format is stated, it must give its stored bits.
void CheckLayout(const pb::Format& in, const std::string& path, const FieldReporter& report) {
  constexpr double kTolerance = 1e-6;
  double bits = in.element_bits();
  for (const pb::FormatMetadata& metadata : in.metadata()) {
    bits += metadata.bits() / static_cast<double>(metadata.elements());
  }
  if (!in.has_element_bits() && in.metadata().empty()) return;
  if (std::abs(bits - in.stored_bits()) <= kTolerance) return;
  report(path + ".stored_bits", "must be element_bits and metadata together (" +
                                    ShortestDouble(bits) + "), got " +
                                    ShortestDouble(in.stored_bits()));
}

TensorFormat Checked(const pb::Format& in, const std::string& path, const FieldReporter& report) {
  CheckLayout(in, path, report);
  return ConvertFormat(in);
}

/// `fraction` of the experts, spread evenly, so that contiguous ranks own as many as possible
/// alike.
std::vector<int64_t> Spread(double fraction, int64_t experts) {
  const auto chosen = std::llround(fraction * static_cast<double>(experts));
  std::vector<int64_t> ids;
  for (int64_t i = 0; i < chosen; ++i) ids.push_back(i * experts / chosen);
  return ids;
}

ExpertMix ConvertMix(const pb::ExpertMix& in, const pb::Model& model, const FieldReporter& report) {
  const std::string path = "model.formats.mix";
  ExpertMix mix{.format = Checked(in.format(), path + ".format", report), .experts = {}};
  const int64_t experts = model.moe().experts();
  if (!model.has_moe()) {
    report(path, "is given, but no layer is feed_forward: moe");
  } else if (in.has_share()) {
    mix.experts = Spread(in.share().fraction(), experts);
  } else {
    mix.experts = {in.list().experts().begin(), in.list().experts().end()};
    if (std::ranges::adjacent_find(mix.experts, std::greater_equal<>()) != mix.experts.end()) {
      report(path + ".list.experts", "must ascend without repeats");
    }
    if (!mix.experts.empty() && mix.experts.back() >= experts) {
      report(path + ".list.experts", "must be below the model's experts (" +
                                         std::to_string(experts) + "), got " +
                                         std::to_string(mix.experts.back()));
    }
  }
  return mix;
}

}  // namespace

TensorFormat ConvertFormat(const pb::Format& in) {
  return {.name = in.name(),
          .stored_bits = in.stored_bits(),
          .compute = ConvertCompute(in.compute()),
          .otherwise = ConvertCompute(in.otherwise()),
          .expanded = in.expanded(),
          .expanded_rate = in.has_expanded_rate() ? in.expanded_rate() : 1,
          .input_bits = in.input_bits()};
}

WeightFormats ConvertWeightFormats(const pb::Model& model, const FieldReporter& report) {
  const pb::WeightFormats& in = model.formats();
  const auto checked = [&](const pb::Format& format, const char* field) {
    return Checked(format, std::string("model.formats.") + field, report);
  };
  WeightFormats out{.attention = checked(in.attention(), "attention"),
                    .dense_ffn = checked(in.dense_ffn(), "dense_ffn"),
                    .experts = checked(in.experts(), "experts"),
                    .embeddings = checked(in.embeddings(), "embeddings"),
                    .activations = checked(in.activations(), "activations")};
  if (in.has_shared_experts()) out.shared_experts = checked(in.shared_experts(), "shared_experts");
  if (in.has_lm_head()) out.lm_head = checked(in.lm_head(), "lm_head");
  if (in.has_lm_head() && model.tied_embeddings()) {
    report("model.formats.lm_head", "must be absent: the LM head is the embedding's table");
  }
  if (in.has_mix()) out.mix = ConvertMix(in.mix(), model, report);
  return out;
}

}  // namespace moecast
