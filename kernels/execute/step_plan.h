// StepPlan: the ops of one step of a model, layer by layer, in the order in which they are launched
// and under the names that the simulator lowers them to. Host only: what an op computes, not with
// which buffers.
#pragma once

#include <compare>
#include <cstdint>
#include <string_view>
#include <vector>

#include "kernels/execute/step_form.h"
#include "sim/model/model_spec.h"

namespace moecast::kernels {

/// Layer of what a step does once.
inline constexpr int32_t kOutsideLayers = -1;

enum class StepLaunch : uint8_t {
  kEmbed,
  kNormAttention,
  kQkv,         // grouped queries: queries, keys and values; latent attention: queries
  kLatentDown,  // latent and rotary key
  kRope,
  kRotate,  // of a rotated KV scheme
  kAppendDecodes,
  kPackChunks,
  kGatherPast,    // cached latents of chunks' pasts, and the chunks' own, as rows
  kExpandPast,    // latents of past and chunk become keys and values
  kAssembleKeys,  // rotary parts beside expanded keys
  kPrefillAttention,
  kAbsorbQuery,  // queries of decodes into latent space
  kDecodeAttention,
  kAbsorbValue,  // and what they attended to out of it
  kAttentionOut,
  kNormFeedForward,
  kGateUp,  // of a dense block or of shared experts, as are the next two
  kActivation,
  kDown,
  kRoute,
  kExperts,
  kNormLast,
  kGatherLast,  // rows that need logits
  kHead,
  kSample
};

/// `batch` products [rows, inputs] * [inputs, outputs].
struct ProductSize {
  int32_t rows = 0;
  int32_t outputs = 0;
  int32_t inputs = 0;
  int32_t batch = 1;
  friend auto operator<=>(const ProductSize&, const ProductSize&) = default;
};

struct PlannedOp {
  StepLaunch launch = StepLaunch::kEmbed;
  std::string_view op;  // as the simulator's OpName
  int32_t layer = kOutsideLayers;
  ProductSize product;  // of dense products; else no rows
};

/// What of the KV scheme decides which ops there are.
struct CacheTraits {
  bool rotated = false;
};

/// REQUIRES: full or sliding-window attention in every layer.
std::vector<PlannedOp> PlanStep(const ModelSpec& model, const CacheTraits& cache,
                                const StepForm& form);

}  // namespace moecast::kernels
