// ModelWeights: random weights of a whole model in device memory, every layer its own.
#pragma once

#include <cuda_bf16.h>

#include <cstdint>
#include <vector>

#include "kernels/execute/attention_widths.h"
#include "kernels/harness/device_buffer.h"
#include "kernels/harness/stream.h"
#include "kernels/ops/expert_gemm/expert_gemm.h"
#include "kernels/ops/expert_prefill/expert_prefill.h"
#include "sim/model/model_spec.h"

namespace moecast::kernels {

/// Row-major [outputs, inputs] bf16, absent where the layer has no such product.
struct LayerWeights {
  const __nv_bfloat16* norm_attention = nullptr;     // [hidden]
  const __nv_bfloat16* norm_feed_forward = nullptr;  // [hidden]
  const __nv_bfloat16* qkv = nullptr;                // GQA; of MLA: queries
  const __nv_bfloat16* latent_down = nullptr;        // MLA: hidden to latent and rotary key
  const __nv_bfloat16* latent_up = nullptr;     // MLA: latent to keys of all heads, then to values
  __nv_bfloat16* absorb_query = nullptr;        // MLA: [heads][latent, key] of the same keys
  const __nv_bfloat16* absorb_value = nullptr;  // MLA: [heads][value, latent], part of latent_up
  const __nv_bfloat16* attention_out = nullptr;
  const __nv_bfloat16* gate_up = nullptr;  // of a dense block or of the shared experts
  const __nv_bfloat16* down = nullptr;
  const __nv_bfloat16* router = nullptr;  // fragment order
  StoredExperts stored = {};              // the routed experts for the memory-bound products
  PrefillWeights prefill = {};            // the same bytes for the compute-bound ones
};

/// How the scenario's expert format is stored. ERRORS: CudaError for a format without kernels.
WeightFormat ExpertFormatOf(const ModelSpec& model);

class ModelWeights {
 public:
  /// Draws everything; the two forms of expert products read the same bytes, each as its own
  /// layout, since any are as good as others. ERRORS: CudaError, when memory does not suffice too.
  ModelWeights(const ModelSpec& model, const Stream& stream);

  [[nodiscard]] const std::vector<LayerWeights>& layers() const { return layers_; }
  [[nodiscard]] const __nv_bfloat16* embedding() const { return embedding_; }
  [[nodiscard]] const __nv_bfloat16* head() const { return head_; }  // [vocabulary, hidden]
  [[nodiscard]] const __nv_bfloat16* final_norm() const { return final_norm_; }

 private:
  /// Hands out parts of the arenas, or only adds up what they take.
  struct Cursor {
    size_t dense = 0;   // bf16 elements
    size_t codes = 0;   // bytes
    size_t scales = 0;  // float32
  };
  void Place(const ModelSpec& model, Cursor& at);
  LayerWeights PlaceLayer(const ModelSpec& model, const LayerSpec& layer, Cursor& at);
  void PlaceExperts(const ModelSpec& model, Cursor& at, LayerWeights& layer);
  void PlaceLatent(const MlaAttention& mla, Cursor& at, LayerWeights& layer);
  __nv_bfloat16* Dense(Cursor& at, int64_t elements) const;
  /// Weights that follow from others.
  void DeriveAbsorbing(const ModelSpec& model, const Stream& stream) const;

  WeightFormat format_;
  DeviceBuffer<__nv_bfloat16> dense_;
  DeviceBuffer<uint8_t> codes_;
  DeviceBuffer<float> scales_;
  std::vector<LayerWeights> layers_;
  const __nv_bfloat16* embedding_ = nullptr;
  const __nv_bfloat16* head_ = nullptr;
  const __nv_bfloat16* final_norm_ = nullptr;
};

}  // namespace moecast::kernels
