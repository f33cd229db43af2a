// The query of latents at 8 and 4 bits, whose tiles are f16: turned from bf16 where it lies in
// shared memory, times a power of two that brings its largest number to 2^14. Exact for numbers
// from 2^-28 of the largest on. Its rotary part stays bf16, times the same.
#pragma once

#include "kernels/ops/mla/pipeline.cuh"

namespace moecast::kernels::mla {

constexpr int kChunkNumbers = 8;  // in 16 bytes

// Largest magnitude of a chunk's numbers, as the bits of a bf16.
__device__ __forceinline__ uint32_t LargestOf(const uint4& chunk) {
  const auto magnitude = [](uint32_t pair) { return max(pair & 0x7fffU, pair >> 16 & 0x7fffU); };
  return max(max(magnitude(chunk.x), magnitude(chunk.y)),
             max(magnitude(chunk.z), magnitude(chunk.w)));
}

template <Half kHalf>
__device__ __forceinline__ uint32_t ScalePair(uint32_t pair, float factor) {
  return Pack<kHalf>(__uint_as_float(pair << 16) * factor,
                     __uint_as_float(pair & 0xffff0000U) * factor);
}
template <Half kHalf>
__device__ __forceinline__ void ScaleChunk(uint8_t* at, float factor) {
  const uint4 chunk = *reinterpret_cast<const uint4*>(at);
  *reinterpret_cast<uint4*>(at) =
      make_uint4(ScalePair<kHalf>(chunk.x, factor), ScalePair<kHalf>(chunk.y, factor),
                 ScalePair<kHalf>(chunk.z, factor), ScalePair<kHalf>(chunk.w, factor));
}

// RETURNS: what products of the query are to be multiplied with.
// REQUIRES: all threads of both multiplying warpgroups; the query has come.
template <class Shared>
__device__ __forceinline__ float TurnQuery(Shared& shared) {
  constexpr int kHeadThreads = kConsumers * 128 / Shared::kRows;
  constexpr int kChunks = kLatentChannels / kChunkNumbers / kHeadThreads;  // of a thread
  const int thread = static_cast<int>(threadIdx.x) - 128;
  const int head = thread / kHeadThreads;
  const int first = thread % kHeadThreads;
  const auto at = [&](int chunk) {
    return ChunkAt(shared.QueryBlock(chunk / kChunkNumbers), head, chunk % kChunkNumbers);
  };
  uint32_t largest = 0;
#pragma unroll 4
  for (int i = 0; i < kChunks; ++i)
    largest =
        max(largest, LargestOf(*reinterpret_cast<const uint4*>(at(first + i * kHeadThreads))));
  largest = __reduce_max_sync(kWarp, largest);
  if (thread % 32 == 0) shared.query_largest[thread / 32] = largest;
  MeetAll();
#pragma unroll
  for (int w = 0; w < kConsumerWarps; ++w) largest = max(largest, shared.query_largest[w]);
  // Exponents of bf16 and float32 are the same: of the factor, 127 + 14 + 127 - the largest's.
  const uint32_t exponent = max(largest >> 7, 15U);
  const float factor = __uint_as_float((268U - exponent) << 23);
#pragma unroll 2
  for (int i = 0; i < kChunks; ++i) ScaleChunk<Half::kF16>(at(first + i * kHeadThreads), factor);
  for (int i = first; i < kRotaryChannels / kChunkNumbers; i += kHeadThreads)
    ScaleChunk<Half::kBf16>(at(kLatentChannels / kChunkNumbers + i), factor);
  ptx::SharedWritesFence();
  MeetAll();
  return __uint_as_float((exponent - 14U) << 23);
}

}  // namespace moecast::kernels::mla
