// KvScheme: what one layer's cache of keys and values looks like to a kernel. A published method is
// a point in this space for each of its layers (kernels/data/kv_schemes.csv names them); the bytes
// are stated in page_layout.h.
//
// An integer code c in 0 .. 2^bits - 1 stands for scale * c + zero, an fp8 code for scale * value.
// Scales and zeros belong to a group of elements of one head:
//   token axis    `group` consecutive channels of one token; group == head_dim is one scale per
//                 token and head
//   channel axis  `group` consecutive tokens of one channel, groups starting at multiples of it
//
// Where tokens live. A scheme without a window stores every token in quantised pages at once. With
// one, the first `sink` tokens stay in bf16 for good; the others enter a ring of bf16 pages and
// leave it, oldest first and `flush` at a time, when it holds recent + flush of them. KIVI's
// residual window of R tokens is {.sink = 0, .recent = 0, .flush = R}: keys and values leave
// together, so a token is quantised in both or in neither.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace moecast::kernels {

/// Tokens of one page.
inline constexpr int kPageTokens = 64;

enum class KvElement : int32_t { kBf16, kE4m3, kE5m2, kInt8, kInt4, kInt2, kInt1 };
enum class ScaleAxis : int32_t { kToken, kChannel };
/// Applied to keys before they are stored, and by the caller to queries: (q R) . (k R) = q . k.
/// kHadamard: R[i, j] = (-1)^popcount(i & j) / sqrt(head_dim). kGiven: an orthogonal matrix that
/// the caller hands over. A rotation of values folds into the projections around them.
enum class KeyRotation : int32_t { kNone, kHadamard, kGiven };

constexpr int BitsOf(KvElement element) {
  switch (element) {
    case KvElement::kBf16:
      return 16;
    case KvElement::kE4m3:
    case KvElement::kE5m2:
    case KvElement::kInt8:
      return 8;
    case KvElement::kInt4:
      return 4;
    case KvElement::kInt2:
      return 2;
    case KvElement::kInt1:
      return 1;
  }
  return 0;
}
constexpr bool IsFp8(KvElement element) {
  return element == KvElement::kE4m3 || element == KvElement::kE5m2;
}
constexpr bool IsInteger(KvElement element) {
  return element != KvElement::kBf16 && !IsFp8(element);
}
constexpr std::string_view Name(KvElement element) {
  constexpr std::string_view kNames[] = {"bf16", "fp8_e4m3", "fp8_e5m2", "int8",
                                         "int4", "int2",     "int1"};
  return kNames[static_cast<size_t>(element)];
}

/// Keys or values of a layer.
struct KvPart {
  KvElement element = KvElement::kBf16;
  ScaleAxis axis = ScaleAxis::kToken;
  int32_t group = 0;  // elements that share a scale; 0 for bf16
  /// Part of the range by which each end point is pulled in once the codes are chosen: the stored
  /// scale is (1 - 2 eta) of the one that gave the codes. 0 <= eta < 1/2.     [XQuant25 sec. 3.2]
  float eta = 0;
  /// The codes are another layer's, in the same places of its pages; this layer stores its own
  /// scales and zeros only.
  bool shares_codes = false;

  bool operator==(const KvPart&) const = default;
};

/// In tokens, multiples of kPageTokens; all 0: no window. flush > 0 where one is.
struct KvWindow {
  int32_t sink = 0;
  int32_t recent = 0;
  int32_t flush = 0;

  bool operator==(const KvWindow&) const = default;
};

struct KvScheme {
  KvPart keys = {};
  KvPart values = {};
  KvWindow window = {};
  KeyRotation rotation = KeyRotation::kNone;

  bool operator==(const KvScheme&) const = default;
};

/// Heads of one layer's cache.
struct KvShape {
  int32_t kv_heads = 0;
  int32_t head_dim = 0;  // 64 or 128

  bool operator==(const KvShape&) const = default;
};

constexpr bool HasWindow(const KvScheme& scheme) { return scheme.window.flush > 0; }

/// Tokens that lie in quantised pages once a sequence has `tokens`; they are the ones from
/// window.sink on. The rest are in bf16: the sinks, and the newest.
constexpr int64_t QuantisedTokens(const KvWindow& window, int64_t tokens) {
  if (window.flush == 0) return tokens;
  const int64_t leaving = tokens - window.sink - window.recent;
  return leaving > 0 ? leaving / window.flush * window.flush : 0;
}

/// Pages of the ring of bf16 pages, sinks not counted.
constexpr int RingPages(const KvWindow& window) {
  return (window.recent + window.flush) / kPageTokens;
}
/// Entries of a sequence's row of the window table: sink pages, then the ring.
constexpr int WindowPages(const KvWindow& window) {
  return window.sink / kPageTokens + RingPages(window);
}
/// Where in that row the page of a token stands that is not quantised.
/// REQUIRES: HasWindow, 0 <= token.
constexpr int WindowPageOf(const KvWindow& window, int64_t token) {
  if (token < window.sink) return static_cast<int>(token / kPageTokens);
  return window.sink / kPageTokens +
         static_cast<int>((token - window.sink) / kPageTokens % RingPages(window));
}

/// Whether the kernels take a part: groups 32, 64, 128 of whole tokens or channels, a channel axis
/// only for integers of a scheme that flushes whole groups.
constexpr bool Fits(const KvPart& part, const KvWindow& window, int head_dim) {
  if (part.element == KvElement::kBf16) return part.group == 0 && !part.shares_codes;
  const bool known = part.group == 32 || part.group == 64 || part.group == 128;
  if (!known || (part.shares_codes && !IsInteger(part.element))) return false;
  if (part.axis == ScaleAxis::kToken)
    return head_dim % part.group == 0 && (IsInteger(part.element) || part.group == head_dim);
  return IsInteger(part.element) && window.flush > 0 && window.flush % part.group == 0 &&
         window.sink % part.group == 0;
}

/// Whether the kernels take a scheme: values on the token axis, 1-bit keys on the channel axis, and
/// a window where tokens of a page share bytes (below 4 bits).
constexpr bool Fits(const KvScheme& scheme, int head_dim) {
  const KvWindow& w = scheme.window;
  const bool whole =
      w.sink % kPageTokens == 0 && w.recent % kPageTokens == 0 && w.flush % kPageTokens == 0;
  const bool ring = w.flush > 0 || (w.sink == 0 && w.recent == 0);
  const bool one_bit =
      scheme.keys.element != KvElement::kInt1 || scheme.keys.axis == ScaleAxis::kChannel;
  const bool bytes_apart =
      w.flush > 0 || (BitsOf(scheme.keys.element) >= 4 && BitsOf(scheme.values.element) >= 4);
  return (head_dim == 64 || head_dim == 128) && whole && ring && one_bit && bytes_apart &&
         scheme.values.axis == ScaleAxis::kToken && Fits(scheme.keys, w, head_dim) &&
         Fits(scheme.values, w, head_dim);
}

}  // namespace moecast::kernels
