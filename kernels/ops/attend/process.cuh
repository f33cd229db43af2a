// One unit: scores of its keys, softmax, its values added. Which decoder runs is decided here, once
// per unit, among those that the kernel's instance knows.
#pragma once

#include <cstdint>

#include "kernels/ops/attend/unit_ring.cuh"
#include "kernels/ops/attend/weigh.cuh"

namespace moecast::kernels {

/// Hides the tokens that the unit's mask does not show.
template <int kTiles, int kRows>
__device__ __forceinline__ void Hide(const Unit& unit, float (&scores)[kRows][kTiles][4]) {
  if (unit.front() >= unit.back() && unit.end() == kRows * kTile) return;
  const int g = static_cast<int>(threadIdx.x) % 32 / 4;
#pragma unroll
  for (int s = 0; s < kRows; ++s) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int token = kTile * s + 8 * i + g;
      if ((token < unit.front() || token >= unit.back()) && token < unit.end()) continue;
#pragma unroll
      for (int n = 0; n < kTiles; ++n) scores[s][n][2 * i] = scores[s][n][2 * i + 1] = -INFINITY;
    }
  }
}

template <KvElement kElement, int kHead, int kTiles>
__device__ __forceinline__ void ScoreIntegers(const KvPart& keys, const PartAt& part,
                                              const Running<kHead, kTiles>& run,
                                              float (&scores)[kSlabs][kTiles][4]) {
  if (keys.axis == ScaleAxis::kChannel) return ScoreByChannel<kElement>(part, run, scores);
  if (keys.group == kHead) return ScoreByWholeToken<kElement>(part, run, scores);
  ScoreByToken<kElement>(part, run, scores);
}

template <int kMostBits, int kHead, int kTiles>
__device__ __forceinline__ void Score(const KvPart& keys, const PartAt& part, float factor,
                                      const Running<kHead, kTiles>& run,
                                      float (&scores)[kSlabs][kTiles][4]) {
  if constexpr (kMostBits < kAllBits) {
    if (kMostBits == 4 && keys.element == KvElement::kInt4)
      return ScoreIntegers<KvElement::kInt4>(keys, part, run, scores);
    if (keys.element == KvElement::kInt2)
      return ScoreIntegers<KvElement::kInt2>(keys, part, run, scores);
    return ScoreByChannel<KvElement::kInt1>(part, run, scores);
  }
  switch (keys.element) {
    case KvElement::kBf16:
      return ScoreBf16(part, factor, run, scores);
    case KvElement::kE4m3:
      return ScoreFp8<KvElement::kE4m3>(part, run, scores);
    case KvElement::kE5m2:
      return ScoreFp8<KvElement::kE5m2>(part, run, scores);
    case KvElement::kInt8:
      return ScoreIntegers<KvElement::kInt8>(keys, part, run, scores);
    case KvElement::kInt4:
      return ScoreIntegers<KvElement::kInt4>(keys, part, run, scores);
    case KvElement::kInt2:
      return ScoreIntegers<KvElement::kInt2>(keys, part, run, scores);
    case KvElement::kInt1:
      return ScoreByChannel<KvElement::kInt1>(part, run, scores);
  }
}

template <int kMostBits, int kHead, int kTiles>
__device__ __forceinline__ void Weigh(KvElement element, const PartAt& part, int end,
                                      float (&p)[kSlabs][kTiles][4], Running<kHead, kTiles>& run) {
  if constexpr (kMostBits < kAllBits) {
    if (kMostBits == 4 && element == KvElement::kInt4)
      return WeighIntegers<KvElement::kInt4>(part, p, run);
    if (element == KvElement::kInt2) return WeighIntegers<KvElement::kInt2>(part, p, run);
    return WeighIntegers<KvElement::kInt1>(part, p, run);
  }
  switch (element) {
    case KvElement::kBf16:
      return WeighFloats<KvElement::kBf16>(part, end, p, run);
    case KvElement::kE4m3:
      return WeighFp8<KvElement::kE4m3>(part, p, run);
    case KvElement::kE5m2:
      return WeighFp8<KvElement::kE5m2>(part, p, run);
    case KvElement::kInt8:
      return WeighIntegers<KvElement::kInt8>(part, p, run);
    case KvElement::kInt4:
      return WeighIntegers<KvElement::kInt4>(part, p, run);
    case KvElement::kInt2:
      return WeighIntegers<KvElement::kInt2>(part, p, run);
    case KvElement::kInt1:
      return WeighIntegers<KvElement::kInt1>(part, p, run);
  }
}

__device__ __forceinline__ PartAt At(const PartLayout& layout, const KvPart& part, uint32_t slot) {
  return {slot + static_cast<uint32_t>(layout.codes), slot + static_cast<uint32_t>(layout.scales),
          slot + static_cast<uint32_t>(layout.zeros), part.group, LogGroup(part)};
}

/// A page of the cache. `factor`: softmax scale in powers of two.
template <int kMostBits, int kHead, int kTiles>
__device__ __forceinline__ void ProcessPage(const KernelArgs& args, const Unit& unit, uint32_t slot,
                                            float factor, Running<kHead, kTiles>& run) {
  const KvScheme& scheme = args.call.scheme;
  const PartAt keys = At(args.staged.keys, scheme.keys, slot);
  const PartAt values = At(args.staged.values, scheme.values, slot);
  float scores[kSlabs][kTiles][4] = {};
  Score<kMostBits>(scheme.keys, keys, factor, run, scores);
  Hide(unit, scores);
  Normalise(scores, run);
  Weigh<kMostBits>(scheme.values.element, values, unit.end(), scores, run);
}

/// A slab of bf16 keys, then values.
template <int kHead, int kTiles>
__device__ __forceinline__ void ProcessSlab(const Unit& unit, uint32_t slot, float factor,
                                            Running<kHead, kTiles>& run) {
  constexpr uint32_t kBytes = kSlabTokens * kHead * 2;
  float scores[1][kTiles][4] = {};
  ScoreBf16({slot, 0, 0, 0, 0}, factor, run, scores);
  Hide(unit, scores);
  Normalise(scores, run);
  WeighFloats<KvElement::kBf16>({slot + kBytes, 0, 0, 0, 0}, unit.end(), scores, run);
}

}  // namespace moecast::kernels
