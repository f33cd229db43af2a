// KV schemes of the catalog, spelled out for tests below the catalog.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "sim/model/kv_scheme.h"
#include "sim/model/model_spec.h"
#include "tests/support/builders.h"

namespace moecast::test {

/// Groups of 32 with a 16-bit scale and zero point each.
inline KvCode GroupedCode(double bits) { return {.bits = bits, .group = 32, .metadata_bits = 32}; }

/// KIVI: keys leave their window `residual` at a time, values one by one.
inline KvScheme Kivi(double bits, int64_t residual = 128, std::string name = "kivi") {
  const KvCode full{.bits = 16};
  const KvSide keys{
      .flush = residual, .bands = {{.newest = 0, .code = full}}, .code = GroupedCode(bits)};
  const KvSide values{.bands = {{.newest = residual, .code = full}}, .code = GroupedCode(bits)};
  return {.name = std::move(name), .layer = {.keys = keys, .values = values}};
}

/// 32 layers of 8 heads of 128 channels, as Llama-3.1-8B caches them.
inline ModelSpec Llama8B() {
  ModelSpec model = TinyDenseModel();
  model.attention =
      GqaAttention{.heads = 32, .kv_heads = 8, .head_dim = 128, .value_head_dim = 128};
  model.layers.assign(32, {});
  return model;
}

}  // namespace moecast::test
