#include "kernels/execute/model_weights.h"

#include <algorithm>
#include <string>

#include "kernels/bench/fill.h"
#include "kernels/bench/prefill_fill.h"
#include "kernels/execute/latent_glue.h"
#include "kernels/ops/expert_gemm/fragment_order.h"

namespace moecast::kernels {
namespace {

constexpr float kWeightScale = 0.05F;
// A code of half of e4m3's range stands for about kWeightScale.
constexpr float kCodeScale = kWeightScale / 128;
constexpr size_t kAlignBytes = 128;

size_t Aligned(size_t count, size_t element_bytes) {
  const size_t step = kAlignBytes / element_bytes;
  return (count + step - 1) / step * step;
}

int32_t Int(int64_t value) { return static_cast<int32_t>(value); }

ExpertShape ShapeOf(const ModelSpec& model) {
  return {.tokens = 0,
          .top_k = Int(model.moe->top_k),
          .experts = Int(model.moe->experts),
          .hidden = Int(model.hidden),
          .intermediate = Int(model.moe->expert_intermediate)};
}

}  // namespace

WeightFormat ExpertFormatOf(const ModelSpec& model) {
  const std::string& name = model.formats.experts.name;
  if (name == "bf16") return WeightFormat::kBf16;
  if (name == "fp8") return WeightFormat::kFp8;
  if (name == "fp8-block") return WeightFormat::kFp8Block;
  if (name == "w4a16-g32") return WeightFormat::kInt4G32;
  if (name == "w4a16-g128") return WeightFormat::kInt4G128;
  throw CudaError("model.formats.experts: no expert kernel for '" + name +
                  "'; there are bf16, fp8, fp8-block, w4a16-g32 and w4a16-g128");
}

ModelWeights::ModelWeights(const ModelSpec& model, const Stream& stream)
    : format_(ExpertFormatOf(model)) {
  Cursor size;
  Place(model, size);
  dense_ = DeviceBuffer<__nv_bfloat16>(size.dense);
  codes_ = DeviceBuffer<uint8_t>(size.codes);
  scales_ = DeviceBuffer<float>(size.scales);
  FillUniform(dense_.data(), dense_.size(), kWeightScale, 1, stream.get());
  if (format_ == WeightFormat::kBf16) {
    FillUniform(reinterpret_cast<__nv_bfloat16*>(codes_.data()), codes_.size() / 2, kWeightScale, 2,
                stream.get());
  } else {
    FillCodes(codes_.data(), codes_.size(), 2, stream.get());
  }
  if (IsInt4(format_)) {  // two bf16 each
    FillCodes(scales_.data(), scales_.size() * sizeof(float), 3, stream.get());
  } else {
    FillScales(scales_.data(), scales_.size(), kCodeScale, 3, stream.get());
  }
  Cursor start;
  Place(model, start);
  DeriveAbsorbing(model, stream);
  stream.Synchronize();
}

void ModelWeights::DeriveAbsorbing(const ModelSpec& model, const Stream& stream) const {
  const auto* const mla = std::get_if<MlaAttention>(&model.attention);
  if (mla == nullptr) return;
  const HeadWidths widths{.heads = Int(mla->heads), .plain = Int(mla->qk_nope_head_dim)};
  for (const LayerWeights& layer : layers_) {
    TransposeHeads(widths, Int(mla->kv_lora_rank), layer.latent_up, layer.absorb_query,
                   stream.get());
  }
}

__nv_bfloat16* ModelWeights::Dense(Cursor& at, int64_t elements) const {
  __nv_bfloat16* const place = dense_.data() + at.dense;
  at.dense += Aligned(static_cast<size_t>(elements), sizeof(__nv_bfloat16));
  return place;
}

void ModelWeights::Place(const ModelSpec& model, Cursor& at) {
  layers_.clear();
  embedding_ = Dense(at, model.vocabulary * model.hidden);
  head_ = model.tied_embeddings ? embedding_ : Dense(at, model.vocabulary * model.hidden);
  final_norm_ = Dense(at, model.hidden);
  for (const LayerSpec& layer : model.layers) layers_.push_back(PlaceLayer(model, layer, at));
}

LayerWeights ModelWeights::PlaceLayer(const ModelSpec& model, const LayerSpec& spec, Cursor& at) {
  const AttentionWidths widths = WidthsOf(model);
  LayerWeights layer;
  layer.norm_attention = Dense(at, model.hidden);
  layer.norm_feed_forward = Dense(at, model.hidden);
  layer.qkv = Dense(at, widths.qkv * model.hidden);
  if (const auto* mla = std::get_if<MlaAttention>(&model.attention)) {
    layer.latent_down = Dense(at, widths.latent * model.hidden);
    PlaceLatent(*mla, at, layer);
  }
  layer.attention_out = Dense(at, widths.values * model.hidden);
  const bool moe = spec.feed_forward == FeedForwardKind::kMoe;
  const int64_t width = moe ? model.moe->shared_intermediate : model.dense_intermediate;
  if (width > 0) {
    layer.gate_up = Dense(at, 2 * width * model.hidden);
    layer.down = Dense(at, width * model.hidden);
  }
  if (moe) PlaceExperts(model, at, layer);
  return layer;
}

void ModelWeights::PlaceLatent(const MlaAttention& mla, Cursor& at, LayerWeights& layer) {
  const int64_t keys = mla.heads * mla.qk_nope_head_dim * mla.kv_lora_rank;
  layer.latent_up = Dense(at, keys + mla.heads * mla.v_head_dim * mla.kv_lora_rank);
  layer.absorb_value = layer.latent_up + keys;
  layer.absorb_query = Dense(at, keys);
}

void ModelWeights::PlaceExperts(const ModelSpec& model, Cursor& at, LayerWeights& layer) {
  const ExpertShape shape = ShapeOf(model);
  const int64_t router_rows =
      (int64_t{shape.experts} + kFragmentRows - 1) / kFragmentRows * kFragmentRows;
  layer.router = Dense(at, router_rows * shape.hidden);
  const int64_t weights = int64_t{shape.experts} * shape.hidden * shape.intermediate;
  const auto down_bytes =
      static_cast<size_t>(shape.experts * PackedBytes(format_, shape.hidden, shape.intermediate));
  const uint8_t* const gate_up = codes_.data() + at.codes;
  at.codes += Aligned(2 * down_bytes, 1);
  const uint8_t* const down = codes_.data() + at.codes;
  at.codes += Aligned(down_bytes, 1);
  // fp8: one scale per projection or per block of 128 x 128. 4 bits: bf16 per row and group, two in
  // a float32, for the compute-bound products; the others keep theirs among the codes.
  const int group = IsInt4(format_) ? 2 * GroupColumns(format_) : 1;
  const int64_t blocks =
      IsInt4(format_) ? weights / group : weights / (int64_t{kFp8BlockSize} * 64);
  const auto scales = static_cast<size_t>(blocks + shape.experts);
  const float* const gate_up_scale = scales_.data() + at.scales;
  at.scales += Aligned(2 * scales, sizeof(float));
  const float* const down_scale = scales_.data() + at.scales;
  at.scales += Aligned(scales, sizeof(float));
  layer.stored = {.format = format_,
                  .gate_up = gate_up,
                  .down = down,
                  .gate_up_scale = gate_up_scale,
                  .down_scale = down_scale};
  layer.prefill = {.format = format_,
                   .gate_up = gate_up,
                   .down = down,
                   .gate_up_scale = gate_up_scale,
                   .down_scale = down_scale};
}

}  // namespace moecast::kernels
