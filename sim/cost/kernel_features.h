// KernelFeatures: what a kernel's time may depend on, as named numbers. Calibration fits over them
// and the simulator asks with them, so that both speak of the same thing. docs/formats/profile.md.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string_view>

namespace moecast {

/// Counts and sizes of one launch on one GPU. 0 stands for "does not apply".
enum class Feature {
  kTokens,           // T: rows that enter the kernel (M of a dense product)
  kAssignments,      // A: kept expert slots
  kDistinct,         // D: experts with at least one row
  kPaddedRows,       // P: rows after padding every expert to its tile
  kMaxLoad,          // m: rows of the fullest expert
  kHidden,           // H: model width (input width of an expert)
  kIntermediate,     // I: expert width on this GPU
  kExperts,          // E: experts the router scores
  kTopK,             // k: native experts per token
  kN,                // output width of a dense product
  kK,                // inner width of a dense product
  kBatch,            // sequences
  kContext,          // cached tokens read, summed over sequences
  kPairs,            // (query, key) pairs of prefill attention
  kHeads,            // query heads
  kKvBytesPerToken,  // cached bytes read per token of context
  kNewTokens,        // tokens written to the cache
  kMaxContext,       // cached tokens read of the longest sequence
  kKvHeads,          // heads of keys and values
  kHeadDim,          // elements of one head; of a latent cache, of a token
  kKeyBits,          // per stored element, metadata not included
  kValueBits,        // as above; 0 where values are read out of the keys' bytes
  kGroup,            // elements that share a scale; 0: a scale per token or tensor
  kResidual,         // latest tokens of a sequence kept in bf16
  kWindow,           // tokens a query sees; 0: all
  kSelectedTokens,   // tokens a query reads of those it could; 0: all
  kWidth,            // bytes moved per row of an elementwise kernel
  kRanks,            // GPUs of a collective
  kMessageBytes,     // what one GPU contributes to a collective
  kBytes,            // compulsory traffic of one launch
  kFlops,            // arithmetic of one launch
  kMultiprocessors,  // of the GPU, as is the next; no launch's own
  kCacheBytes,       // of the last cache before device memory
};
inline constexpr size_t kFeatureCount = 33;

/// "tokens", "padded_rows", "kv_bytes_per_token", ...: column names of measurements and profiles.
std::string_view FeatureName(Feature feature);
/// RETURNS: the feature of that name, or nothing.
std::optional<Feature> FeatureNamed(std::string_view name);

struct KernelFeatures {
  std::array<double, kFeatureCount> values{};

  double& operator[](Feature f) { return values[static_cast<size_t>(f)]; }
  double operator[](Feature f) const { return values[static_cast<size_t>(f)]; }
  friend bool operator==(const KernelFeatures&, const KernelFeatures&) = default;
};

}  // namespace moecast
