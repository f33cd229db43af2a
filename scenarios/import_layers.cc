#include <algorithm>

#include "model.pb.h"
#include "scenarios/import_parts.h"

namespace moecast {
namespace {

constexpr int64_t kMostLayers = 10'000;

using LayerFlags = std::vector<bool>;  // [layer]

// Llama-4: every n-th layer has experts.
LayerFlags InterleavedMoe(ModelConfig& config, int64_t layers) {
  const int64_t step =
      std::max<int64_t>(1, config.Integer({"interleave_moe_layer_step"}).value_or(1));
  LayerFlags moe(static_cast<size_t>(layers));
  for (int64_t l = 0; l < layers; ++l) moe[static_cast<size_t>(l)] = (l + 1) % step == 0;
  return moe;
}

// ERNIE: every n-th layer between two bounds has experts.
LayerFlags BoundedMoe(ModelConfig& config, int64_t layers) {
  const int64_t first = config.RequiredInteger({"moe_layer_start_index"});
  const int64_t stated_last = config.Integer({"moe_layer_end_index"}).value_or(-1);
  const int64_t last = stated_last == -1 ? layers - 1 : stated_last;
  const int64_t interval = std::max<int64_t>(1, config.Integer({"moe_layer_interval"}).value_or(1));
  LayerFlags moe(static_cast<size_t>(layers));
  for (int64_t l = 0; l < layers; ++l) {
    moe[static_cast<size_t>(l)] = l >= first && l <= last && (l + 1) % interval == 0;
  }
  return moe;
}

// Everyone else: all rules whose keys are present apply together.
LayerFlags CombinedMoe(ModelConfig& config, int64_t layers) {
  const int64_t dense_first =
      config.Integer({"first_k_dense_replace", "moe_layer_num_skipped"}).value_or(0);
  const std::vector<int64_t> dense_layers =
      config.Integers("mlp_only_layers").value_or(std::vector<int64_t>{});
  const int64_t step = std::max<int64_t>(1, config.Integer({"decoder_sparse_step"}).value_or(1));
  const bool listed = config.Has("moe_layer_freq") && config.Find("moe_layer_freq")->is_array();
  const int64_t frequency =
      listed ? 1 : std::max<int64_t>(1, config.Integer({"moe_layer_freq"}).value_or(1));
  LayerFlags moe(static_cast<size_t>(layers));
  for (int64_t l = 0; l < layers; ++l) {
    const bool dense = std::find(dense_layers.begin(), dense_layers.end(), l) != dense_layers.end();
    moe[static_cast<size_t>(l)] =
        l >= dense_first && !dense && (l + 1) % step == 0 && l % frequency == 0;
  }
  if (!listed) return moe;
  const std::vector<int64_t> flags =
      config.Integers("moe_layer_freq").value_or(std::vector<int64_t>{});
  if (static_cast<int64_t>(flags.size()) != layers) {
    config.Problem("moe_layer_freq", "must have one entry per layer (" + std::to_string(layers) +
                                         "), got " + std::to_string(flags.size()));
    return moe;
  }
  for (size_t l = 0; l < flags.size(); ++l) moe[l] = flags[l] != 0;
  return moe;
}

LayerFlags MoeLayers(ModelConfig& config, int64_t layers) {
  const bool has_experts =
      config.Integer({"n_routed_experts", "num_experts", "num_local_experts", "moe_num_experts"})
          .value_or(0) > 0;
  if (!has_experts) return LayerFlags(static_cast<size_t>(layers), false);
  if (config.IsOneOf({"llama4_text"})) return InterleavedMoe(config, layers);
  if (config.IsOneOf({"ernie4_5_moe"})) return BoundedMoe(config, layers);
  return CombinedMoe(config, layers);
}

std::vector<AttentionKind> ListedKinds(ModelConfig& config, int64_t layers) {
  std::vector<AttentionKind> kinds(static_cast<size_t>(layers), AttentionKind::kFull);
  const std::vector<std::string> types =
      config.Texts("layer_types").value_or(std::vector<std::string>{});
  if (static_cast<int64_t>(types.size()) != layers) {
    config.Problem("layer_types", "must have one entry per layer (" + std::to_string(layers) +
                                      "), got " + std::to_string(types.size()));
    return kinds;
  }
  for (size_t l = 0; l < types.size(); ++l) {
    if (types[l] == "sliding_attention" || types[l] == "chunked_attention") {
      kinds[l] = AttentionKind::kSlidingWindow;
    } else if (types[l] == "linear_attention") {
      kinds[l] = AttentionKind::kLinear;
    } else if (types[l] != "full_attention") {
      config.Problem("layer_types", "'" + types[l] +
                                        "' is not known; known: full_attention, sliding_attention, "
                                        "chunked_attention, linear_attention");
    }
  }
  return kinds;
}

// Llama-4 reads chunks of attention_chunk_size in every layer but each fourth.
std::vector<AttentionKind> ChunkedKinds(ModelConfig& config, int64_t layers) {
  constexpr int64_t kFullEvery = 4;
  std::vector<AttentionKind> kinds(static_cast<size_t>(layers), AttentionKind::kFull);
  for (int64_t l = 0; l < layers; ++l) {
    if ((l + 1) % kFullEvery != 0) kinds[static_cast<size_t>(l)] = AttentionKind::kSlidingWindow;
  }
  config.Infer("layers: three of four with a window of attention_chunk_size, by model_type " +
               config.model_type() + " (chunks are treated as a sliding window)");
  return kinds;
}

std::vector<AttentionKind> AttentionKinds(ModelConfig& config, int64_t layers, int64_t window) {
  std::vector<AttentionKind> kinds(static_cast<size_t>(layers), AttentionKind::kFull);
  if (config.Has("layer_types")) {
    kinds = ListedKinds(config, layers);
  } else if (const auto interval = config.Integer({"full_attention_interval"})) {
    for (int64_t l = 0; l < layers; ++l) {
      if ((l + 1) % std::max<int64_t>(1, *interval) != 0) {
        kinds[static_cast<size_t>(l)] = AttentionKind::kLinear;
      }
    }
  } else if (config.IsOneOf({"llama4_text"}) && window > 0) {
    kinds = ChunkedKinds(config, layers);
  } else if (window > 0) {
    const int64_t first = std::max<int64_t>(0, config.Integer({"max_window_layers"}).value_or(0));
    for (int64_t l = first; l < layers; ++l) {
      kinds[static_cast<size_t>(l)] = AttentionKind::kSlidingWindow;
    }
  }
  if (window == 0) {
    std::replace(kinds.begin(), kinds.end(), AttentionKind::kSlidingWindow, AttentionKind::kFull);
  }
  const std::vector<int64_t> types =
      config.Integers("attn_type_list").value_or(std::vector<int64_t>{});
  if (std::any_of(types.begin(), types.end(), [](int64_t type) { return type != 1; })) {
    config.Problem("attn_type_list",
                   "holds a type other than 1 (full attention), which is not supported");
  }
  return kinds;
}

// Layers that `repeat` copies of the `period` layers at `begin` cover.
struct Run {
  size_t period = 1;
  size_t repeat = 1;
  [[nodiscard]] size_t covered() const { return period * repeat; }
};

Run LongestRun(const std::vector<LayerSpec>& layers, size_t begin) {
  constexpr size_t kLongestPattern = 8;
  Run best;
  for (size_t period = 1; period <= kLongestPattern; ++period) {
    size_t end = begin + period;
    while (end < layers.size() && layers[end] == layers[end - period]) ++end;
    const Run run{.period = period, .repeat = (end - begin) / period};
    if ((period == 1 || run.repeat > 1) && run.covered() > best.covered()) best = run;
  }
  return best;
}

}  // namespace

std::vector<LayerSpec> ImportLayers(ModelConfig& config) {
  const int64_t count = config.RequiredInteger({"num_hidden_layers"});
  if (count < 1 || count > kMostLayers) {
    if (count != 0) {
      config.Problem("num_hidden_layers", "must be between 1 and " + std::to_string(kMostLayers) +
                                              ", got " + std::to_string(count));
    }
    return {};
  }
  const LayerFlags moe = MoeLayers(config, count);
  const std::vector<AttentionKind> kinds = AttentionKinds(config, count, ImportWindow(config));
  std::vector<LayerSpec> layers;
  for (size_t l = 0; l < moe.size(); ++l) {
    layers.push_back({.attention = kinds[l],
                      .feed_forward = moe[l] ? FeedForwardKind::kMoe : FeedForwardKind::kDense});
  }
  return layers;
}

void WriteLayerRuns(const std::vector<LayerSpec>& layers, pb::Model& out) {
  for (size_t begin = 0; begin < layers.size();) {
    const Run run = LongestRun(layers, begin);
    pb::LayerRun& written = *out.add_layers();
    written.set_repeat(static_cast<int64_t>(run.repeat));
    for (size_t l = begin; l < begin + run.period; ++l) {
      pb::Layer& layer = *written.add_pattern();
      switch (layers[l].attention) {
        case AttentionKind::kFull:
          layer.set_attention(pb::Layer::full);
          break;
        case AttentionKind::kSlidingWindow:
          layer.set_attention(pb::Layer::sliding_window);
          break;
        case AttentionKind::kLinear:
          layer.set_attention(pb::Layer::linear);
          break;
      }
      layer.set_feed_forward(layers[l].feed_forward == FeedForwardKind::kMoe ? pb::Layer::moe
                                                                             : pb::Layer::dense);
    }
    begin += run.covered();
  }
}

}  // namespace moecast
