// A thread moves 16 bytes, or turns eight codes.
#include <cuda_fp16.h>
#include <cuda_fp8.h>

#include "kernels/execute/latent_glue.h"
#include "kernels/ops/kv/latent_layout.h"
#include "kernels/ops/launch.h"
#include "kernels/ops/ptx.cuh"

namespace moecast::kernels {
namespace {

constexpr int kThreads = 128;
constexpr int kVector = 8;  // bf16 in 16 bytes
constexpr int kLatentVectors = kLatentChannels / kVector;
constexpr int kRowVectors = (kLatentChannels + kRotaryChannels) / kVector;

LaunchShape ShapeFor(int64_t threads) {
  return {.blocks = static_cast<int>((threads + kThreads - 1) / kThreads), .threads = kThreads};
}

__device__ int64_t ThreadIndex() {
  return static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
}

__device__ uint4 Packed(const float2 (&pairs)[kVector / 2]) {
  uint4 packed;
  auto* const out = reinterpret_cast<__nv_bfloat162*>(&packed);
#pragma unroll
  for (int i = 0; i < kVector / 2; ++i) out[i] = __floats2bfloat162_rn(pairs[i].x, pairs[i].y);
  return packed;
}

__device__ float2 Scaled(float2 code, float scale, float zero) {
  return {fmaf(code.x, scale, zero), fmaf(code.y, scale, zero)};
}

/// Channels 8 v .. 8 v + 7 of a token's latent.
template <KvElement kElement>
__device__ uint4 LatentVector(const uint8_t* page, int token, int v) {
  constexpr LatentLayout kLayout = LatentLayoutOf(kElement);
  const uint8_t* const row = page + token * kLayout.row_bytes;
  if constexpr (kElement == KvElement::kBf16) {
    return reinterpret_cast<const uint4*>(row)[v];
  } else {
    const int group = v * kVector / kLatentGroup * kPageTokens + token;
    float2 pairs[kVector / 2];
    if constexpr (IsFp8(kElement)) {
      const float scale = reinterpret_cast<const float*>(page + kLayout.scales)[group];
      const auto* const codes = reinterpret_cast<const __nv_fp8x2_storage_t*>(row) + v * 4;
#pragma unroll
      for (int i = 0; i < kVector / 2; ++i) {
        const __half2 code(__nv_cvt_fp8x2_to_halfraw2(codes[i], __NV_E4M3));
        pairs[i] = Scaled(__half22float2(code), scale, 0);
      }
    } else {
      const float scale =
          __half2float(reinterpret_cast<const __half*>(page + kLayout.scales)[group]);
      const float zero = __half2float(reinterpret_cast<const __half*>(page + kLayout.zeros)[group]);
      const uint32_t word = reinterpret_cast<const uint32_t*>(row)[v];
#pragma unroll
      for (int i = 0; i < kVector / 2; ++i) {
        const uint32_t both = word >> (4 * i);
        pairs[i] = Scaled({static_cast<float>(both & 0xfU), static_cast<float>(both >> 16 & 0xfU)},
                          scale, zero);
      }
    }
    return Packed(pairs);
  }
}

/// The last s with starts[s] <= row.
__device__ int SequenceOf(const int32_t* starts, int32_t sequences, int32_t row) {
  int low = 0;
  int high = sequences;
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    (starts[middle] <= row ? low : high) = middle;
  }
  return low;
}

template <KvElement kElement>
__global__ void __launch_bounds__(kThreads)
    GatherContextKernel(const __grid_constant__ ChunkContext context,
                        const __grid_constant__ LatentPages cache,
                        const __grid_constant__ LatentRows chunk, uint4* __restrict__ to) {
  ptx::GridDependencyLaunch();
  const int64_t i = ThreadIndex();
  ptx::GridDependencyWait();
  const auto row = static_cast<int32_t>(i / kRowVectors);
  const auto v = static_cast<int>(i % kRowVectors);
  if (row >= context.key_starts[context.sequences]) return;
  const int s = SequenceOf(context.key_starts, context.sequences, row);
  const int32_t token = row - context.key_starts[s];
  if (token >= context.past[s]) {
    const int64_t from = context.chunk_starts[s] + token - context.past[s];
    to[i] = reinterpret_cast<const uint4*>(chunk.rows + from * chunk.stride)[v];
    return;
  }
  constexpr LatentLayout kLayout = LatentLayoutOf(kElement);
  const int32_t* const table = cache.block_table + int64_t{s} * cache.pages_per_sequence;
  const uint8_t* const page =
      cache.pages + int64_t{table[token / kPageTokens]} * kLayout.page_bytes;
  const int in_page = token % kPageTokens;
  if (v < kLatentVectors) {
    to[i] = LatentVector<kElement>(page, in_page, v);
  } else {
    const auto* const rotary = reinterpret_cast<const uint4*>(page + kLayout.rotary);
    to[i] = rotary[in_page * (kRotaryChannels / kVector) + v - kLatentVectors];
  }
}

/// Rows of heads, `plain` then `rotary` vectors each.
struct HeadVectors {
  int32_t heads;
  int32_t plain;
  int32_t rotary;
  [[nodiscard]] __host__ __device__ int32_t head() const { return plain + rotary; }
};

HeadVectors VectorsOf(const HeadWidths& widths) {
  return {widths.heads, widths.plain / kVector, widths.rotary / kVector};
}

__global__ void __launch_bounds__(kThreads)
    AssembleKeysKernel(int32_t rows, HeadVectors widths, const uint4* __restrict__ plain,
                       int64_t plain_stride, const uint4* __restrict__ rotary,
                       int64_t rotary_stride, uint4* __restrict__ keys) {
  ptx::GridDependencyLaunch();
  const int64_t i = ThreadIndex();
  ptx::GridDependencyWait();
  const int64_t row = i / (widths.heads * widths.head());
  if (row >= rows) return;
  const auto head = static_cast<int32_t>(i / widths.head() % widths.heads);
  const auto v = static_cast<int32_t>(i % widths.head());
  keys[i] = v < widths.plain ? plain[row * plain_stride + head * widths.plain + v]
                             : rotary[row * rotary_stride + v - widths.plain];
}

__global__ void __launch_bounds__(kThreads)
    PlaceRotaryKernel(int32_t rows, HeadVectors widths, int32_t latent,
                      const uint4* __restrict__ query, uint4* __restrict__ absorbed) {
  ptx::GridDependencyLaunch();
  const int64_t i = ThreadIndex();
  ptx::GridDependencyWait();
  const int64_t head = i / widths.rotary;  // of all rows
  const auto v = static_cast<int32_t>(i % widths.rotary);
  if (head >= int64_t{rows} * widths.heads) return;
  absorbed[head * (latent + widths.rotary) + latent + v] =
      query[head * widths.head() + widths.plain + v];
}

__global__ void __launch_bounds__(kThreads)
    TransposeHeadsKernel(HeadWidths widths, int32_t latent, const __nv_bfloat16* __restrict__ from,
                         __nv_bfloat16* __restrict__ to) {
  const int64_t i = ThreadIndex();  // of `to`
  const int64_t head = i / (int64_t{latent} * widths.plain);
  if (head >= widths.heads) return;
  const int64_t c = i / widths.plain % latent;
  const int64_t d = i % widths.plain;
  to[i] = from[(head * widths.plain + d) * latent + c];
}

template <class T>
const uint4* Vectors(const T* data) {
  return reinterpret_cast<const uint4*>(data);
}

}  // namespace

void GatherContext(const ChunkContext& context, const LatentPages& cache, const LatentRows& chunk,
                   __nv_bfloat16* to, cudaStream_t stream) {
  const auto launch = [&](auto kernel) {
    Launch(kernel, ShapeFor(int64_t{context.rows} * kRowVectors), stream, context, cache, chunk,
           reinterpret_cast<uint4*>(to));
  };
  if (cache.element == KvElement::kE4m3) return launch(GatherContextKernel<KvElement::kE4m3>);
  if (cache.element == KvElement::kInt4) return launch(GatherContextKernel<KvElement::kInt4>);
  launch(GatherContextKernel<KvElement::kBf16>);
}

void AssembleKeys(int32_t rows, const HeadWidths& widths, const __nv_bfloat16* plain,
                  int64_t plain_stride, const LatentRows& context, __nv_bfloat16* keys,
                  cudaStream_t stream) {
  const HeadVectors vectors = VectorsOf(widths);
  Launch(AssembleKeysKernel, ShapeFor(int64_t{rows} * vectors.heads * vectors.head()), stream, rows,
         vectors, Vectors(plain), plain_stride / kVector, Vectors(context.rows + kLatentChannels),
         context.stride / kVector, reinterpret_cast<uint4*>(keys));
}

void PlaceRotary(int32_t rows, const HeadWidths& widths, int32_t latent, const __nv_bfloat16* query,
                 __nv_bfloat16* absorbed, cudaStream_t stream) {
  const HeadVectors vectors = VectorsOf(widths);
  Launch(PlaceRotaryKernel, ShapeFor(int64_t{rows} * vectors.heads * vectors.rotary), stream, rows,
         vectors, latent / kVector, Vectors(query), reinterpret_cast<uint4*>(absorbed));
}

void TransposeHeads(const HeadWidths& widths, int32_t latent, const __nv_bfloat16* from,
                    __nv_bfloat16* to, cudaStream_t stream) {
  const LaunchShape shape = ShapeFor(int64_t{widths.heads} * widths.plain * latent);
  TransposeHeadsKernel<<<shape.blocks, shape.threads, 0, stream>>>(widths, latent, from, to);
  CUDA_CHECK(cudaGetLastError());
}

}  // namespace moecast::kernels
