#include <array>
#include <bit>
#include <string>

#include "kv.pb.h"
#include "scenarios/convert.h"
#include "sim/base/text.h"
#include "sim/policy/kv/cached_layers.h"

namespace moecast {
namespace {

constexpr double kFullBits = 16;

/// Where a policy was written, and the model it is for.
struct KvReader {
  const ModelSpec& model;
  const FieldReporter& report;

  [[nodiscard]] bool latent() const {
    return std::holds_alternative<MlaAttention>(model.attention);
  }
};

bool IsCodeWidth(double bits) {
  return bits == kFullBits ||
         std::find(kNarrowWidths.begin(), kNarrowWidths.end(), bits) != kNarrowWidths.end();
}

void CheckCode(const pb::KvCode& in, int64_t channels, const std::string& path,
               const KvReader& reader) {
  if (!IsCodeWidth(in.bits())) {
    reader.report(path + ".bits", "must be 16, 8, 4, 2 or 1, got " + ShortestDouble(in.bits()));
  }
  if (!in.has_group() && in.scale_bits() + in.zero_bits() > 0) {
    reader.report(path + ".scale_bits", "needs group: the elements that share a scale");
  }
  if (!std::has_single_bit(static_cast<uint64_t>(in.flush_tokens()))) {
    reader.report(path + ".flush_tokens",
                  "must be a power of two, got " + std::to_string(in.flush_tokens()));
  }
  if (!in.has_group()) return;
  const bool along_tokens = in.axis() == pb::KvCode::channel;
  const int64_t whole = along_tokens ? in.flush_tokens() : channels;
  if (whole % in.group() != 0) {
    reader.report(path + ".group", "must divide " + std::to_string(whole) +
                                       (along_tokens ? " (flush_tokens)"
                                                     : " channels of '" + reader.model.name + "'") +
                                       ", got " + std::to_string(in.group()));
  }
}

KvSide ConvertSide(const pb::KvCode& in) {
  KvSide side{
      .sink = in.sink_tokens(),
      .flush = in.flush_tokens(),
      .code = {.bits = in.bits(),
               .group = in.group(),
               .metadata_bits = in.scale_bits() + in.zero_bits(),
               .axis = in.axis() == pb::KvCode::channel ? KvAxis::kChannel : KvAxis::kToken}};
  if (in.sink_tokens() + in.recent_tokens() > 0 || in.flush_tokens() > 1) {
    side.bands.push_back({.newest = in.recent_tokens(), .code = {.bits = kFullBits}});
  }
  return side;
}

/// Channels that a group may lie along: of a head, or of a latent.
std::array<int64_t, 2> ChannelsOf(const ModelSpec& model) {
  if (const auto* mla = std::get_if<MlaAttention>(&model.attention)) {
    return {mla->kv_lora_rank, mla->qk_rope_head_dim};
  }
  const auto& gqa = std::get<GqaAttention>(model.attention);
  return {gqa.head_dim, gqa.value_head_dim};
}

KvScheme ConvertScheme(const pb::KvScheme& in, const std::string& path, const KvReader& reader) {
  const auto unsuited = reader.latent() ? pb::KvScheme::heads : pb::KvScheme::latent;
  if (in.caches() == unsuited) {
    reader.report(path, "'" + in.name() + "' cannot keep what '" + reader.model.name +
                            "' caches, " +
                            (reader.latent() ? "a latent; schemes for it are any and latent ones, "
                                               "such as bf16, fp8_e4m3, mla_int4"
                                             : "keys and values of heads; mla schemes are for "
                                               "latents"));
  }
  const auto [keys, values] = ChannelsOf(reader.model);
  CheckCode(in.key(), keys, path + ".key", reader);
  CheckCode(in.value(), values, path + ".value", reader);
  return {.name = in.name(),
          .layer = {.keys = ConvertSide(in.key()), .values = ConvertSide(in.value())},
          .rotated = in.rotated()};
}

/// A scheme that stands alone.
KvScheme ConvertWhole(const pb::KvScheme& in, const std::string& path, const KvReader& reader) {
  if (in.parametric()) {
    reader.report(path, "'" + in.name() + "' has other bits in every layer: write kv: {" +
                            in.name() + ": {...}} with its parameters");
  }
  return ConvertScheme(in, path, reader);
}

/// A scheme that keeps every token alike.
KvScheme ConvertAlike(const pb::KvScheme& in, const std::string& path, const KvReader& reader) {
  KvScheme scheme = ConvertWhole(in, path, reader);
  if (!scheme.layer.keys.bands.empty() || !scheme.layer.values.bands.empty()) {
    reader.report(path, "'" + in.name() +
                            "' keeps a window of its own; a scheme without one is "
                            "needed here");
  }
  return scheme;
}

void CheckLayers(int64_t layers, const std::string& path, const KvReader& reader) {
  const int64_t most = CachedLayers(reader.model);
  if (layers <= most) return;
  reader.report(path, "must be at most the layers that cache keys and values (" +
                          std::to_string(most) + "), got " + std::to_string(layers));
}

KvPolicy ConvertAsym(const pb::KvAsym& in, const KvReader& reader) {
  CheckLayers(in.key_layers(), "kv.asymkv.key_layers", reader);
  CheckLayers(in.value_layers(), "kv.asymkv.value_layers", reader);
  return AsymKv{.scheme = ConvertScheme(in.scheme(), "kv.asymkv.scheme", reader),
                .key_layers = in.key_layers(),
                .value_layers = in.value_layers()};
}

KvPolicy ConvertXQuant(const pb::KvXQuant& in, const KvReader& reader) {
  CheckLayers(in.kq(), "kv.xquant.kq", reader);
  CheckLayers(in.vq(), "kv.xquant.vq", reader);
  CheckLayers(in.km(), "kv.xquant.km", reader);
  CheckLayers(in.vm(), "kv.xquant.vm", reader);
  // The two layers of a pair must have codes of one width.
  const auto splits_pair = [](int64_t bits, int64_t from) { return bits % 2 == 1 && from <= bits; };
  if (splits_pair(in.kq(), in.km())) {
    reader.report("kv.xquant.kq", "must be even where keys are shared: a pair has one width, got " +
                                      std::to_string(in.kq()));
  }
  if (splits_pair(in.vq(), in.vm())) {
    reader.report("kv.xquant.vq",
                  "must be even where values are shared: a pair has one width, got " +
                      std::to_string(in.vq()));
  }
  return XQuantKv{.scheme = ConvertScheme(in.scheme(), "kv.xquant.scheme", reader),
                  .key_layers = in.kq(),
                  .value_layers = in.vq(),
                  .shared_keys_from = in.km(),
                  .shared_values_from = in.vm(),
                  .eta = in.eta(),
                  .eta_1bit = in.eta_1bit()};
}

KvPolicy ConvertByLayer(const pb::KvByLayerRuns& in, const KvReader& reader) {
  KvByLayer policy;
  std::vector<KvScheme> schemes;
  int64_t layers = 0;
  for (int i = 0; i < in.runs_size(); ++i) {
    const std::string path = "kv.by_layer.runs." + std::to_string(i) + ".scheme";
    schemes.push_back(ConvertWhole(in.runs(i).scheme(), path, reader));
    policy.runs.push_back({.layers = in.runs(i).layers(), .scheme = schemes.back()});
    layers += in.runs(i).layers();
  }
  if (layers != CachedLayers(reader.model)) {
    reader.report("kv.by_layer.runs", "must have as many layers as cache keys and values (" +
                                          std::to_string(CachedLayers(reader.model)) + "), got " +
                                          std::to_string(layers));
  }
  if (CountKvBoundaries(schemes) > kMostKvBoundaries) {
    reader.report("kv.by_layer.runs", "have " + std::to_string(CountKvBoundaries(schemes)) +
                                          " different windows; at most " +
                                          std::to_string(kMostKvBoundaries) + " are allowed");
  }
  return policy;
}

KvPolicy ConvertByAge(const pb::KvByAgeBands& in, const KvReader& reader) {
  KvByAge policy{.bands = {},
                 .oldest = ConvertAlike(in.oldest(), "kv.by_age.oldest", reader),
                 .sink = in.sink_tokens(),
                 .flush = in.flush_tokens()};
  if (!std::has_single_bit(static_cast<uint64_t>(in.flush_tokens()))) {
    reader.report("kv.by_age.flush_tokens",
                  "must be a power of two, got " + std::to_string(in.flush_tokens()));
  }
  if (static_cast<size_t>(in.bands_size()) > kMostKvBoundaries) {
    reader.report("kv.by_age.bands", "has " + std::to_string(in.bands_size()) + " bands; at most " +
                                         std::to_string(kMostKvBoundaries) + " are allowed");
  }
  for (int i = 0; i < in.bands_size(); ++i) {
    const std::string path = "kv.by_age.bands." + std::to_string(i);
    if (i > 0 && in.bands(i).newest_tokens() <= in.bands(i - 1).newest_tokens()) {
      reader.report(path + ".newest_tokens", "must exceed the younger band's " +
                                                 std::to_string(in.bands(i - 1).newest_tokens()));
    }
    policy.bands.push_back(
        {.newest = in.bands(i).newest_tokens(),
         .scheme = ConvertAlike(in.bands(i).scheme(), path + ".scheme", reader)});
  }
  for (size_t i = 0; i < policy.bands.size(); ++i) {
    const KvScheme& older =
        i + 1 < policy.bands.size() ? policy.bands[i + 1].scheme : policy.oldest;
    const KvLayer& young = policy.bands[i].scheme.layer;
    if (young.keys.code.stored_bits() < older.layer.keys.code.stored_bits() ||
        young.values.code.stored_bits() < older.layer.values.code.stored_bits()) {
      reader.report("kv.by_age.bands." + std::to_string(i) + ".scheme",
                    "'" + policy.bands[i].scheme.name + "' is narrower than '" + older.name +
                        "' of older tokens; bits must not grow with age");
    }
  }
  return policy;
}

KvPolicy ConvertPressed(const pb::KvPressed& in, const KvReader& reader) {
  return KvUnderPressure{
      .normal = ConvertWhole(in.normal(), "kv.under_pressure.normal", reader),
      .pressed = ConvertWhole(in.pressed(), "kv.under_pressure.pressed", reader),
      .above = in.above(),
      .who = in.who() == pb::KvPressed::oldest ? KvPressure::Who::kOldest : KvPressure::Who::kNew};
}

KvPolicy ConvertSliding(const pb::KvSliding& in, const KvReader& reader) {
  return KvSlidingEviction{
      .scheme = ConvertAlike(in.scheme(), "kv.sliding_eviction.scheme", reader),
      .sink = in.sink_tokens(),
      .window = in.window_tokens()};
}

KvPolicy ConvertBudgeted(const pb::KvBudgeted& in, const KvReader& reader) {
  return KvTokenBudget{.scheme = ConvertAlike(in.scheme(), "kv.token_budget.scheme", reader),
                       .tokens = in.tokens(),
                       .recalibrate = in.recalibrate_every(),
                       .predictor_flops = in.predictor_flops(),
                       .predictor_bytes = in.predictor_bytes()};
}

}  // namespace

KvPolicy ConvertKv(const pb::Kv& in, const ModelSpec& model, const FieldReporter& report) {
  const KvReader reader{.model = model, .report = report};
  if (in.has_asymkv()) return ConvertAsym(in.asymkv(), reader);
  if (in.has_xquant()) return ConvertXQuant(in.xquant(), reader);
  if (in.has_by_layer()) return ConvertByLayer(in.by_layer(), reader);
  if (in.has_by_age()) return ConvertByAge(in.by_age(), reader);
  if (in.has_under_pressure()) return ConvertPressed(in.under_pressure(), reader);
  if (in.has_token_budget()) return ConvertBudgeted(in.token_budget(), reader);
  if (in.has_sliding_eviction()) return ConvertSliding(in.sliding_eviction(), reader);
  return UniformKv{ConvertWhole(in.scheme(), "kv.scheme", reader)};
}

}  // namespace moecast
