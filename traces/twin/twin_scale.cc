#include "traces/twin/twin_scale.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>

#include "sim/base/text.h"
#include "traces/routing_codec.h"
#include "traces/twin/rank_quantiles.h"

namespace moecast {
namespace {

/// The fitted layer that stands for layer `l` of `layers`.
size_t LayerFor(size_t l, size_t layers, size_t fitted) {
  return std::min((2 * l + 1) * fitted / (2 * layers), fitted - 1);
}

/// `values` [fitted layer][per_layer] at the layers that stand for the new ones.
void SpreadLayers(std::vector<double>& values, size_t layers, size_t fitted) {
  if (values.empty()) return;
  const size_t per_layer = values.size() / fitted;
  std::vector<double> spread;
  for (size_t l = 0; l < layers; ++l) {
    const auto first =
        values.begin() + static_cast<std::ptrdiff_t>(LayerFor(l, layers, fitted) * per_layer);
    spread.insert(spread.end(), first, first + static_cast<std::ptrdiff_t>(per_layer));
  }
  values = std::move(spread);
}

void ChangeLayers(RoutingTwin& twin, size_t layers) {
  const size_t fitted = twin.header.moe_layers.size();
  const auto experts = static_cast<size_t>(twin.header.experts);
  SpreadLayers(twin.topic_spread, layers, fitted);
  SpreadLayers(twin.stickiness, layers, fitted);
  SpreadLayers(twin.groups.affinity, layers, fitted);
  SpreadLayers(twin.scores.gaps, layers, fitted);
  SpreadLayers(twin.scores.tail, layers, fitted);
  for (TwinDomain& domain : twin.domains) {
    SpreadLayers(domain.log_weights, layers, fitted);
    // A layer that stands for two must not make the same experts popular in both.
    for (size_t l = 1; l < layers; ++l) {
      if (LayerFor(l, layers, fitted) != LayerFor(l - 1, layers, fitted)) continue;
      RngStream rng({.seed = twin.kinds.seed, .replication = 0}, "traces/twin/layers", l);
      Shuffle(std::span(domain.log_weights).subspan(l * experts, experts), rng);
    }
  }
  const int32_t first = twin.header.moe_layers.front();
  twin.header.moe_layers.resize(layers);
  std::iota(twin.header.moe_layers.begin(), twin.header.moe_layers.end(), first);
}

/// Quantiles of the fitted log weights, dealt out in an order drawn per layer.
void ChangeExperts(RoutingTwin& twin, size_t experts) {
  const auto fitted = static_cast<size_t>(twin.header.experts);
  for (TwinDomain& domain : twin.domains) {
    std::vector<double> changed;
    for (size_t l = 0; l < twin.header.moe_layers.size(); ++l) {
      const auto first = domain.log_weights.begin() + static_cast<std::ptrdiff_t>(l * fitted);
      std::vector<double> sorted(first, first + static_cast<std::ptrdiff_t>(fitted));
      std::sort(sorted.begin(), sorted.end());
      for (size_t e = 0; e < experts; ++e) {
        const double place =
            std::clamp((static_cast<double>(e) + 1.0 / 2.0) * static_cast<double>(fitted) /
                               static_cast<double>(experts) -
                           1.0 / 2.0,
                       0.0, static_cast<double>(fitted - 1));
        const auto below = static_cast<size_t>(place);
        const size_t above = std::min(below + 1, fitted - 1);
        changed.push_back(sorted[below] +
                          (place - static_cast<double>(below)) * (sorted[above] - sorted[below]));
      }
      RngStream rng({.seed = twin.kinds.seed, .replication = 0}, "traces/twin/experts", l);
      Shuffle(std::span(changed).last(experts), rng);
    }
    domain.log_weights = std::move(changed);
  }
  twin.header.experts = static_cast<int32_t>(experts);
  if (twin.groups.size > 0 && experts % static_cast<size_t>(twin.groups.size) != 0) {
    twin.groups = {};
  }
}

/// Ranks beyond the fitted ones have gaps that fall off as 1 / rank. Eq. P2.
void ChangeTopK(RoutingTwin& twin, size_t top_k) {
  const size_t fitted = static_cast<size_t>(twin.header.top_k) - 1;
  if (twin.header.has_scores && fitted > 0) {
    std::vector<double> gaps;
    for (size_t l = 0; l < twin.header.moe_layers.size(); ++l) {
      for (size_t rank = 0; rank + 1 < top_k; ++rank) {
        const size_t known = std::min(rank, fitted - 1);
        gaps.push_back(twin.scores.gaps[l * fitted + known] * static_cast<double>(known + 1) /
                       static_cast<double>(rank + 1));
      }
    }
    twin.scores.gaps = std::move(gaps);
  } else if (twin.header.has_scores) {
    twin.scores.gaps.assign(twin.header.moe_layers.size() * (top_k - 1), 0);
  }
  twin.header.top_k = static_cast<int32_t>(top_k);
}

Status ChangeDomains(RoutingTwin& twin, const TwinChanges& changes) {
  if (changes.domains.empty()) return Ok();
  std::vector<std::string> names;
  for (TwinDomain& domain : twin.domains) {
    names.push_back(domain.name);
    domain.share = 0;
  }
  Errors errors;
  for (const auto& [name, share] : changes.domains) {
    const auto found = std::find(names.begin(), names.end(), name);
    if (found == names.end()) {
      errors.push_back(
          {"the twin has no domain '" + name + "'" + DidYouMean(name, names), "--domain"});
    } else {
      twin.domains[static_cast<size_t>(found - names.begin())].share = share;
    }
  }
  return errors.empty() ? Ok() : Status(std::move(errors));
}

Status InRange(const char* flag, const std::optional<int64_t>& value, int64_t least, int64_t most) {
  if (!value || (*value >= least && *value <= most)) return Ok();
  return Error{"is " + std::to_string(*value) + ", allowed are " + std::to_string(least) + " to " +
                   std::to_string(most),
               flag};
}

}  // namespace

Result<RoutingTwin> ChangeTwin(RoutingTwin twin, const TwinChanges& changes) {
  SIM_RETURN_IF_ERROR(InRange("--experts", changes.experts, 1, kMaxRoutingExperts));
  const int64_t experts = changes.experts.value_or(twin.header.experts);
  SIM_RETURN_IF_ERROR(InRange("--top-k", changes.top_k, 1, experts));
  SIM_RETURN_IF_ERROR(
      InRange("--layers", changes.layers, 1, kMaxRoutingLayers - twin.header.moe_layers.front()));
  SIM_RETURN_IF_ERROR(InRange("--sequences", changes.sequences, 1, kMaxTwinSequences));
  SIM_RETURN_IF_ERROR(InRange("--prefill-tokens", changes.prefill_tokens, 0, kMaxTwinTokens));
  SIM_RETURN_IF_ERROR(InRange("--decode-tokens", changes.decode_tokens, 0, kMaxTwinTokens));
  const int64_t rows = experts * changes.layers.value_or(std::ssize(twin.header.moe_layers));
  SIM_RETURN_IF_ERROR(InRange("--experts times --layers", rows, 1, kMaxTwinRows));
  SIM_RETURN_IF_ERROR(ChangeDomains(twin, changes));
  if (changes.layers) ChangeLayers(twin, static_cast<size_t>(*changes.layers));
  if (changes.experts && *changes.experts != twin.header.experts) {
    ChangeExperts(twin, static_cast<size_t>(*changes.experts));
  }
  if (changes.top_k) ChangeTopK(twin, static_cast<size_t>(*changes.top_k));
  for (TwinDomain& domain : twin.domains) {
    if (domain.by_heat) SetWeightsByHeat(twin.header, domain);
  }
  if (changes.sequences) twin.sequences = *changes.sequences;
  if (changes.prefill_tokens) {
    twin.prefill_tokens = {static_cast<double>(*changes.prefill_tokens)};
  }
  if (changes.decode_tokens) twin.decode_tokens = {static_cast<double>(*changes.decode_tokens)};
  SIM_RETURN_IF_ERROR(CheckTwin(twin));
  return twin;
}

}  // namespace moecast
