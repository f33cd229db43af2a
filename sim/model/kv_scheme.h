// KvScheme: how cached keys and values of one layer are kept. A side (keys, or values) holds its
// newest tokens in wider codes than the rest: residual windows, sinks and mixes by age are all
// that. Facts come from scenarios/catalog/kv_schemes.yaml; docs/model/kv.md has the equations.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace moecast {

/// Widths of codes, widest first; everything above 8 bits is read as it is.
inline constexpr std::array<double, 4> kNarrowWidths{8, 4, 2, 1};
inline constexpr size_t kNarrowWidthCount = kNarrowWidths.size();

/// Which elements share a scale: consecutive channels of a token, or tokens of a channel.
enum class KvAxis { kToken, kChannel };

struct KvCode {
  double bits = 0;           // of one code
  int64_t group = 0;         // elements that share metadata; 0: none
  double metadata_bits = 0;  // scale and zero point of one group together
  KvAxis axis = KvAxis::kToken;
  bool shared = false;  // the codes are those of the layer below; the metadata is this layer's own

  [[nodiscard]] double metadata_per_element() const {
    return group > 0 ? metadata_bits / static_cast<double>(group) : 0;
  }
  /// Bits per element that attention reads: shared codes are read again.
  [[nodiscard]] double read_bits() const { return bits + metadata_per_element(); }
  /// Bits per element that this layer takes in memory.
  [[nodiscard]] double stored_bits() const { return (shared ? 0 : bits) + metadata_per_element(); }
  /// Bits per element as papers on low-bit caches count them: codes alone, shared ones once.
  [[nodiscard]] double equivalent_bits() const { return shared ? 0 : bits; }
  friend bool operator==(const KvCode&, const KvCode&) = default;
};

/// Tokens younger than `newest` that no younger band holds.
struct KvBand {
  int64_t newest = 0;
  KvCode code{};
  friend bool operator==(const KvBand&, const KvBand&) = default;
};

/// Keys or values of one layer. Tokens leave a band `flush` at a time, so the youngest one holds
/// between newest and newest + flush - 1 tokens, and the first `sink` tokens for good.
struct KvSide {
  int64_t sink = 0;
  int64_t flush = 1;            // a power of two
  std::vector<KvBand> bands{};  // youngest first, `newest` ascending
  KvCode code{};                // of every other token

  /// How many tokens of the youngest band there are at most.
  [[nodiscard]] int64_t residual() const {
    return bands.empty() ? 0 : sink + bands.front().newest + flush - 1;
  }
  friend bool operator==(const KvSide&, const KvSide&) = default;
};

/// One layer. Of a latent (MLA), keys are the latent and values the rotary part beside it.
struct KvLayer {
  KvSide keys{};
  KvSide values{};
  friend bool operator==(const KvLayer&, const KvLayer&) = default;
};

/// A named way to keep a layer.
struct KvScheme {
  std::string name{};  // measured kernels carry it as their format
  KvLayer layer{};
  bool rotated = false;  // keys and queries are rotated before they are stored or multiplied
  friend bool operator==(const KvScheme&, const KvScheme&) = default;
};

/// Tokens of a sequence of `tokens` that have left the bands up to the one with this boundary.
struct KvBoundary {
  int64_t start = 0;  // sink + newest
  int64_t flush = 1;

  [[nodiscard]] int64_t Older(int64_t tokens) const {
    const int64_t leaving = tokens - start;
    return leaving > 0 ? leaving & ~(flush - 1) : 0;
  }
  friend bool operator==(const KvBoundary&, const KvBoundary&) = default;
};

}  // namespace moecast
