#include "sim/model/kv_plan.h"

#include <algorithm>
#include <span>
#include <utility>

#include "sim/base/check.h"

namespace moecast {
namespace {

constexpr double kBitsPerByte = 8;

std::vector<KvBoundary> BoundariesOf(const KvSide& side) {
  std::vector<KvBoundary> boundaries;
  for (const KvBand& band : side.bands) {
    boundaries.push_back({.start = side.sink + band.newest, .flush = side.flush});
  }
  return boundaries;
}

size_t PlaceOf(const KvBoundary& boundary, std::vector<KvBoundary>& known) {
  const auto found = std::find(known.begin(), known.end(), boundary);
  if (found != known.end()) return static_cast<size_t>(found - known.begin());
  known.push_back(boundary);
  return known.size() - 1;
}

std::vector<size_t> PlacesOf(const KvSide& side, std::vector<KvBoundary>& known) {
  std::vector<size_t> places;
  for (const KvBoundary& boundary : BoundariesOf(side)) places.push_back(PlaceOf(boundary, known));
  return places;
}

/// Stored bits per element of one side of one layer: at no token, and for each token.
KvCharge ChargeOf(const KvSide& side) {
  KvCharge bits{.per_token = side.code.stored_bits()};
  int64_t younger = 0;
  for (const KvBand& band : side.bands) {
    const int64_t until = side.sink + band.newest + side.flush - 1;
    bits.per_sequence +=
        static_cast<double>(until - younger) * (band.code.stored_bits() - side.code.stored_bits());
    younger = until;
  }
  return bits;
}

/// Stored bits per element of one side of one layer of a sequence of `tokens`.
double HeldBits(const KvSide& side, int64_t tokens) {
  double bits = 0;
  int64_t younger = 0;  // tokens in the bands passed
  for (size_t i = 0; i < side.bands.size(); ++i) {
    const KvBoundary boundary{.start = side.sink + side.bands[i].newest, .flush = side.flush};
    const int64_t until = tokens - boundary.Older(tokens);
    bits += static_cast<double>(until - younger) * side.bands[i].code.stored_bits();
    younger = until;
  }
  return bits + static_cast<double>(tokens - younger) * side.code.stored_bits();
}

}  // namespace

bool KvPlan::plain() const {
  return stores.size() == 1 && stores.front().boundaries.empty() && !budget && keep_tokens == 0;
}

KvElements KvElementsOf(const ModelSpec& model, int64_t tensor) {
  if (const auto* mla = std::get_if<MlaAttention>(&model.attention)) {
    return {.keys = static_cast<double>(mla->kv_lora_rank),
            .values = static_cast<double>(mla->qk_rope_head_dim)};
  }
  const auto& gqa = std::get<GqaAttention>(model.attention);
  const int64_t heads = std::max<int64_t>(1, gqa.kv_heads / tensor);
  return {.keys = static_cast<double>(heads * gqa.head_dim),
          .values = static_cast<double>(heads * gqa.value_head_dim)};
}

size_t CountKvBoundaries(const std::vector<KvScheme>& layers) {
  std::vector<KvBoundary> known;
  for (const KvScheme& scheme : layers) {
    PlacesOf(scheme.layer.keys, known);
    PlacesOf(scheme.layer.values, known);
  }
  return known.size();
}

KvStore MakeKvStore(std::string name, const ModelSpec& model, const std::vector<KvScheme>& layers) {
  KvStore store{.name = std::move(name)};
  const bool latent = std::holds_alternative<MlaAttention>(model.attention);
  size_t next = 0;
  for (const LayerSpec& layer : model.layers) {
    if (layer.attention == AttentionKind::kLinear) continue;
    const KvScheme& scheme = layers.at(next++);
    const auto alike = [&scheme](const KvLayerClass& each) {
      return each.scheme == scheme.name && each.layer == scheme.layer;
    };
    auto found = std::find_if(store.classes.begin(), store.classes.end(), alike);
    if (found == store.classes.end()) {
      store.classes.push_back(
          {.scheme = scheme.name,
           .layer = scheme.layer,
           .rotated = scheme.rotated,
           .key_boundaries = PlacesOf(scheme.layer.keys, store.boundaries),
           .value_boundaries = PlacesOf(scheme.layer.values, store.boundaries)});
      found = std::prev(store.classes.end());
    }
    const bool full = latent || layer.attention == AttentionKind::kFull;
    ++(full ? found->full_layers : found->window_layers);
  }
  SIM_CHECK(next == layers.size() && store.boundaries.size() <= kMostKvBoundaries);
  return store;
}

KvPlan PlanUniformKv(const ModelSpec& model, const KvScheme& scheme) {
  const int64_t cached = model.layer_count() - model.attention_layer_count(AttentionKind::kLinear);
  const std::vector<KvScheme> layers(static_cast<size_t>(cached), scheme);
  return {.stores = {MakeKvStore(scheme.name, model, layers)}};
}

KvBits BitsOf(const KvStore& store, const KvElements& elements) {
  KvBits bits;
  double weight = 0;
  for (const KvLayerClass& each : store.classes) {
    const auto layers = static_cast<double>(each.layers());
    const std::pair<const KvCode*, double> sides[] = {
        {&each.layer.keys.code, layers * elements.keys},
        {&each.layer.values.code, layers * elements.values}};
    for (const auto& [code, count] : sides) {
      bits.stored += count * code->stored_bits();
      bits.read += count * code->read_bits();
      bits.equivalent += count * code->equivalent_bits();
      weight += count;
    }
  }
  if (weight == 0) return {};
  return {.stored = bits.stored / weight,
          .read = bits.read / weight,
          .equivalent = bits.equivalent / weight};
}

KvCharge ChargeOf(const KvStore& store, const KvElements& elements) {
  KvCharge sum;
  for (const KvLayerClass& each : store.classes) {
    const auto layers = static_cast<double>(each.layers());
    const KvCharge keys = ChargeOf(each.layer.keys);
    const KvCharge values = ChargeOf(each.layer.values);
    sum.per_sequence +=
        layers * (elements.keys * keys.per_sequence + elements.values * values.per_sequence) /
        kBitsPerByte;
    sum.per_token += layers *
                     (elements.keys * keys.per_token + elements.values * values.per_token) /
                     kBitsPerByte;
  }
  return sum;
}

double HeldBytes(const KvStore& store, const KvElements& elements, int64_t tokens) {
  double bits = 0;
  for (const KvLayerClass& each : store.classes) {
    bits += static_cast<double>(each.layers()) *
            (elements.keys * HeldBits(each.layer.keys, tokens) +
             elements.values * HeldBits(each.layer.values, tokens));
  }
  return bits / kBitsPerByte;
}

}  // namespace moecast
