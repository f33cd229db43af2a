// Activations: what flows between the ops of a step, once for all layers, and the step's inputs on
// the device. Sized for the largest step of a scenario; addresses do not change, so graphs stay
// valid.
#pragma once

#include <cuda_bf16.h>

#include <cstdint>

#include "kernels/execute/model_weights.h"
#include "kernels/execute/routing_image.h"
#include "kernels/execute/step_form.h"
#include "kernels/harness/device_buffer.h"
#include "kernels/ops/route/route.h"
#include "kernels/ops/sample/sample.h"

namespace moecast::kernels {

struct StepCapacity {
  int32_t rows = 0;        // of the dense products, rounded up as they compute them
  int32_t sequences = 0;   // of a step with prompts, and of a padded one
  int32_t logit_rows = 0;  // likewise
};

class Activations {
 public:
  Activations(const ModelSpec& model, const StepCapacity& capacity, const Stream& stream);

  using Rows = DeviceBuffer<__nv_bfloat16>;
  Rows residual;                         // [rows, hidden]
  Rows x;                                // [rows, hidden] output of the last block
  Rows normed;                           // [rows, hidden]
  Rows qkv;                              // [rows, qkv] queries, keys, values; of MLA: queries
  Rows latent;                           // [rows, latent] of MLA, rotary keys behind
  Rows absorbed;                         // [decodes, heads, latent] queries in latent space
  Rows latent_out;                       // [decodes, heads, latent without rotary part]
  Rows context;                          // [context rows, latent] past and chunk
  Rows expanded;                         // [context rows, up] their keys and values
  Rows keys;                             // [context rows, heads, key_dim] with rotary parts
  Rows attended;                         // [rows, values]
  Rows gate_up;                          // [rows, 2 width] of dense blocks and shared experts
  Rows act;                              // [rows, width]
  Rows shared_out;                       // [rows, hidden] of shared experts
  Rows expert_act;                       // [rows * top_k, intermediate]
  Rows expert_y;                         // [rows * top_k, hidden]
  Rows expert_x;                         // [rows * top_k, hidden], permuted
  Rows last;                             // [logit_rows, hidden]
  Rows logits;                           // [logit_rows, vocabulary]
  DeviceBuffer<float> expert_x_scale;    // fp8_block
  DeviceBuffer<float> expert_act_scale;  // fp8_block
  DeviceBuffer<uint32_t> handoff;        // [experts + 1]

  /// Where the route op writes what nobody reads.
  RouteBuffers routed;

  DeviceBuffer<int32_t> token_ids, positions, lengths, chunk_starts, past, key_starts, logit_index;
  DeviceBuffer<int32_t> routing;  // words of a RoutingImage
  DeviceBuffer<SampleRule> sample_rules;
  DeviceBuffer<int32_t> sampled;  // [logit_rows]

  /// Copies a step's inputs; `image` as RoutingImage wrote it.
  void Upload(const StepInputs& inputs, std::span<const int32_t> image);
  /// Makes room for that many context rows. Addresses change: graphs with chunks are void.
  void GrowContext(int32_t rows, const AttentionWidths& widths, const Stream& stream);

 private:
  void AllocateLatents(const ModelSpec& model, int32_t sequences, const Stream& stream);
  void AllocateExperts(const ModelSpec& model, int32_t rows, const Stream& stream);

  DeviceBuffer<float> route_logits_;
  DeviceBuffer<float> route_weights_;
  DeviceBuffer<int32_t> route_slots_;
  DeviceBuffer<int32_t> route_experts_;
};

}  // namespace moecast::kernels
