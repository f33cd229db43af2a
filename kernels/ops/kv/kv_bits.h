// How many bits an element of the cache takes: stored, read by a decode step, and by the papers'
// count. Averages over keys and values of one layer; metadata as page_layout.h stores it.
#pragma once

#include <cstdint>

#include "kernels/ops/kv/kv_scheme.h"

namespace moecast::kernels {

/// Codes that this layer stores, nothing else: shared ones count 0. The mean over layers is the
/// equivalent bit width that XQuant and AsymKV state.                              [XQuant25 Table
/// 1]
double EquivalentBits(const KvScheme& scheme);

/// Metadata included, of a token in a quantised page.
double QuantisedBits(const KvScheme& scheme, int head_dim);

/// Codes, metadata, and the bf16 tokens of the window, of a sequence with `tokens`.
/// REQUIRES: tokens > 0.
double StoredBits(const KvScheme& scheme, int head_dim, int64_t tokens);
/// The same with shared codes counted: they are read from the layer that stores them.
double ReadBits(const KvScheme& scheme, int head_dim, int64_t tokens);

/// Layers by index, as AsymKV and XQuant write a configuration: 2 bits below the first bound and
/// 1 bit from it on; from the second bound on odd layers share the codes of the layer before.
struct LayerPlan {
  int32_t layers = 0;
  int32_t two_bit_keys = 0;
  int32_t two_bit_values = 0;
  int32_t first_shared_keys = 0;  // layers: none
  int32_t first_shared_values = 0;
  int32_t group = 32;
  int32_t residual = 128;
  float two_bit_eta = 0;
  float one_bit_eta = 0;
};

KvScheme SchemeOfLayer(const LayerPlan& plan, int layer);

}  // namespace moecast::kernels
