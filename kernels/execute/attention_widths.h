// AttentionWidths: widths of a model's attention that follow from its spec.
#pragma once

#include <cstdint>

#include "sim/model/model_spec.h"

namespace moecast::kernels {

struct AttentionWidths {
  int32_t heads = 0;
  int32_t kv_heads = 0;
  int32_t key_dim = 0;
  int32_t value_dim = 0;
  int32_t qkv = 0;     // outputs of the first product; of latent attention: queries
  int32_t values = 0;  // inputs of the last one
  int32_t latent = 0;  // of latent attention: latent and rotary key; else 0
  int32_t up = 0;      // keys and values that a latent expands to, without rotary parts
};
AttentionWidths WidthsOf(const ModelSpec& model);

}  // namespace moecast::kernels
