#include <algorithm>
#include <set>

#include "model_change.pb.h"
#include "scenarios/convert.h"

namespace moecast {
namespace {

constexpr double kBitsPerByte = 8;
constexpr double kFlopsPerMultiplyAdd = 2;

/// The model's parts that no layer uses any more are dropped.
void DropUnused(ModelSpec& model) {
  const int64_t moe_layers = model.moe_layer_count();
  if (moe_layers == 0) model.moe.reset();
  if (moe_layers == model.layer_count()) model.dense_intermediate = 0;
  if (model.attention_layer_count(AttentionKind::kLinear) == 0) model.linear_attention.reset();
  if (model.attention_layer_count(AttentionKind::kSlidingWindow) == 0) model.sliding_window = 0;
}

void RemoveLayers(const pb::ModelChange& in, const FieldReporter& report, ModelSpec& model) {
  const std::set<int64_t> removed(in.removed_layers().begin(), in.removed_layers().end());
  const int64_t layers = model.layer_count();
  if (removed.empty()) return;
  if (*removed.rbegin() >= layers || std::ssize(removed) >= layers) {
    report("change.removed_layers", "must name some, not all, of the model's layers 0 to " +
                                        std::to_string(layers - 1) + ", got " +
                                        std::to_string(removed.size()) + " up to " +
                                        std::to_string(*removed.rbegin()));
    return;
  }
  std::vector<LayerSpec> kept;
  for (int64_t layer = 0; layer < layers; ++layer) {
    if (!removed.contains(layer)) {
      kept.push_back(model.layers[static_cast<size_t>(layer)]);
    } else if (!removed.contains(layer - 1)) {
      ++model.cuts;
    }
  }
  model.layers = std::move(kept);
  DropUnused(model);
}

/// RETURNS: whether `width` can be cut so.
bool CheckSlices(const pb::Slices& in, int64_t width, const std::string& path,
                 const FieldReporter& report) {
  if (in.shared() + in.active() > in.slices()) {
    report(path + ".active", "must leave shared and active within slices (" +
                                 std::to_string(in.slices()) + "), got " +
                                 std::to_string(in.active()));
    return false;
  }
  if (width % in.slices() != 0) {
    report(path + ".slices", "must divide the intermediate size (" + std::to_string(width) +
                                 "), got " + std::to_string(in.slices()));
    return false;
  }
  return true;
}

/// CMoE: a dense block of width d becomes experts of width d / slices; a slice's score is the
/// output of one of its neurons, so the router has a gate and an up matrix.
void CutDense(const pb::Slices& in, const FieldReporter& report, ModelSpec& model) {
  if (model.moe) {
    report("change.dense_to_moe", "must be absent: model '" + model.name + "' has experts");
    return;
  }
  const int64_t width = model.dense_intermediate / in.slices();
  if (!CheckSlices(in, model.dense_intermediate, "change.dense_to_moe", report)) return;
  model.moe = MoeSpec{.experts = in.slices() - in.shared(),
                      .top_k = in.active(),
                      .expert_intermediate = width,
                      .shared_experts = in.shared(),
                      .shared_intermediate = in.shared() * width,
                      .router_matrices = 2};
  for (LayerSpec& layer : model.layers) layer.feed_forward = FeedForwardKind::kMoe;
  model.dense_intermediate = 0;
}

/// The same inside every routed expert.
void CutExperts(const pb::Slices& in, const FieldReporter& report, ModelSpec& model) {
  if (!model.moe) {
    report("change.split_experts", "must be absent: model '" + model.name + "' has no experts");
    return;
  }
  if (!CheckSlices(in, model.moe->expert_intermediate, "change.split_experts", report)) return;
  const int64_t routed = in.slices() - in.shared();
  model.reads.experts = {
      .always = static_cast<double>(in.shared()) / static_cast<double>(in.slices()),
      .chance = static_cast<double>(in.active()) / static_cast<double>(routed)};
  model.moe->inner_router_width = 2 * routed;
}

void LeaveOutInputs(const pb::ModelChange& in, const FieldReporter& report, ModelSpec& model) {
  const pb::LeftOutInputs& out = in.left_out_inputs();
  const auto leave_out = [](double share, WeightRead& read) {
    if (share > 0) read = {.always = 0, .chance = 1 - share};
  };
  if (out.experts() > 0 && in.has_split_experts()) {
    report("change.left_out_inputs.experts", "must be 0 where split_experts is given");
  }
  leave_out(out.attention(), model.reads.attention);
  leave_out(out.dense_ffn(), model.reads.dense_ffn);
  leave_out(out.experts(), model.reads.experts);
}

ExtraPlace ConvertPlace(pb::ExtraOperation::Place in) {
  switch (in) {
    case pb::ExtraOperation::dense_layer:
      return ExtraPlace::kDenseLayer;
    case pb::ExtraOperation::moe_layer:
      return ExtraPlace::kMoeLayer;
    case pb::ExtraOperation::cut:
      return ExtraPlace::kCut;
    case pb::ExtraOperation::step:
      return ExtraPlace::kStep;
    default:
      return ExtraPlace::kLayer;
  }
}

void ConvertProduct(const pb::ExtraProduct& in, const TensorFormat& activations,
                    ExtraOperation& out) {
  const auto inputs = static_cast<double>(in.inputs());
  const auto outputs = static_cast<double>(in.outputs());
  const double activation_bytes = activations.bytes_per_element();
  out.product = true;
  out.weights = inputs * outputs;
  out.format = ConvertFormat(in.format());
  out.flops_per_row = kFlopsPerMultiplyAdd * inputs * outputs;
  out.bytes_per_row =
      inputs * out.format.input_bytes(activation_bytes) + outputs * activation_bytes;
}

/// A row of n = left * right elements times a left and a right matrix: 2 n (left + right)
/// operations. [FlatQuant24 3.1]
void ConvertKronecker(const pb::ExtraKronecker& in, const TensorFormat& activations,
                      ExtraOperation& out) {
  const auto left = static_cast<double>(in.left());
  const auto right = static_cast<double>(in.right());
  out.weights = left * left + right * right;
  out.format = activations;
  out.flops_per_row = kFlopsPerMultiplyAdd * left * right * (left + right);
  out.bytes_per_row =
      left * right * (activations.bytes_per_element() + in.output_bits() / kBitsPerByte);
}

ExtraOperation ConvertExtra(const pb::ExtraOperation& in, const TensorFormat& activations) {
  ExtraOperation out{.name = "extra." + in.name(),
                     .place = ConvertPlace(in.place()),
                     .count = in.count(),
                     .format = activations};
  if (in.has_product()) {
    ConvertProduct(in.product(), activations, out);
  } else if (in.has_kronecker()) {
    ConvertKronecker(in.kronecker(), activations, out);
  } else {
    out.bytes_per_row = in.per_token().bytes();
    out.flops_per_row = in.per_token().flops();
  }
  return out;
}

}  // namespace

void ConvertChange(const pb::ModelChange& in, const FieldReporter& report, ModelSpec& model) {
  RemoveLayers(in, report, model);
  if (in.has_dense_to_moe()) CutDense(in.dense_to_moe(), report, model);
  if (in.has_split_experts()) CutExperts(in.split_experts(), report, model);
  LeaveOutInputs(in, report, model);
  for (const pb::ExtraOperation& extra : in.extra_operations()) {
    model.extras.push_back(ConvertExtra(extra, model.formats.activations));
  }
}

}  // namespace moecast
