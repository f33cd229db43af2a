// SkipRule: which of a token's top-k experts are computed; one functor for host and device, so the
// reference and the kernels decide alike. docs/kernels.md, "Skip rules".
#pragma once

#include <cstdint>

#ifdef __CUDACC__
#define MOECAST_HOST_DEVICE __host__ __device__
#else
#define MOECAST_HOST_DEVICE
#endif

namespace moecast::kernels {

enum class SkipKind : int32_t {
  kNone,         // native top-k
  kUniform,      // keep the first k'                                            [Yang25 1.2a]
  kRatio,        // keep j while p_j >= threshold * p_1                           (NAEE)
  kTopP,         // keep the shortest prefix whose kept mass reaches threshold of the top-k's mass
  kAsetDerived,  // keep j while p_j >= threshold * (1 - penalty * H) * p_1; a derived stand-in
};

struct SkipRule {
  SkipKind kind = SkipKind::kNone;
  int32_t k = 0;        // kUniform
  float threshold = 0;  // kRatio, kTopP, kAsetDerived
  float penalty = 0;    // kAsetDerived

  /// Whether the expert of rank `rank` (0 is best) is kept. The best expert always is.
  ///   p, p_best      scores of this expert and of the best, on any common scale
  ///   mass_before    sum of the scores of better ranks; mass_top_k: of all top-k
  ///   entropy_ratio  H: entropy of the top-k's scores over ln k, in [0, 1]
  [[nodiscard]] MOECAST_HOST_DEVICE bool Keeps(int32_t rank, float p, float p_best,
                                               float mass_before, float mass_top_k,
                                               float entropy_ratio) const {
    if (rank == 0) return true;
    switch (kind) {
      case SkipKind::kNone:
        return true;
      case SkipKind::kUniform:
        return rank < k;
      case SkipKind::kRatio:
        return p >= threshold * p_best;
      case SkipKind::kTopP:
        return mass_before < threshold * mass_top_k;
      case SkipKind::kAsetDerived:
        return p >= threshold * (1 - penalty * entropy_ratio) * p_best;
    }
    return true;
  }
};

}  // namespace moecast::kernels
