// A thread rotates eight pairs: two 16-byte vectors of a head and 64 bytes of the table.
#include <cstddef>

#include "kernels/ops/launch.h"
#include "kernels/ops/ptx.cuh"
#include "kernels/ops/rope/rope.h"

namespace moecast::kernels {
namespace {

constexpr int kThreads = 128;
constexpr int kPairs = 8;

struct Vector {
  float v[kPairs];
};

__device__ Vector Load(const __nv_bfloat16* from) {
  const uint4 raw = *reinterpret_cast<const uint4*>(from);
  const auto* const pairs = reinterpret_cast<const __nv_bfloat162*>(&raw);
  Vector out;
#pragma unroll
  for (int i = 0; i < kPairs / 2; ++i) {
    const float2 two = __bfloat1622float2(pairs[i]);
    out.v[2 * i] = two.x, out.v[2 * i + 1] = two.y;
  }
  return out;
}
__device__ void Store(const Vector& values, __nv_bfloat16* to) {
  uint4 raw;
  auto* const pairs = reinterpret_cast<__nv_bfloat162*>(&raw);
#pragma unroll
  for (int i = 0; i < kPairs / 2; ++i)
    pairs[i] = __floats2bfloat162_rn(values.v[2 * i], values.v[2 * i + 1]);
  *reinterpret_cast<uint4*>(to) = raw;
}
__device__ Vector LoadTable(const float* from) {
  Vector out;
#pragma unroll
  for (int i = 0; i < kPairs; i += 4)
    *reinterpret_cast<float4*>(out.v + i) = __ldg(reinterpret_cast<const float4*>(from + i));
  return out;
}

// The first element of the `pair`-th pair of a head, and of its partner.
__device__ int First(const RopeShape& shape, int pair) {
  return shape.style == RopeStyle::kNeox ? pair : 2 * pair;
}
__device__ int Second(const RopeShape& shape, int pair) {
  return shape.style == RopeStyle::kNeox ? pair + shape.rotary / 2 : 2 * pair + 1;
}

// Rotates pairs [pair, pair + kPairs) of one head.
__device__ void Rotate(const RopeShape& shape, const Vector& cos, const Vector& sin, int pair,
                       __nv_bfloat16* head) {
  const bool neox = shape.style == RopeStyle::kNeox;
  __nv_bfloat16* const low = head + First(shape, pair);
  __nv_bfloat16* const high = neox ? low + shape.rotary / 2 : low + kPairs;
  const Vector a = Load(low);
  const Vector b = Load(high);
  Vector out_a;
  Vector out_b;
#pragma unroll
  for (int i = 0; i < kPairs; ++i) {
    // Interleaved: the pairs stand beside each other, four in each vector.
    const int slot = 2 * (i % (kPairs / 2));
    const Vector& from = i < kPairs / 2 ? a : b;
    const float x = neox ? a.v[i] : from.v[slot];
    const float y = neox ? b.v[i] : from.v[slot + 1];
    const float turned_x = x * cos.v[i] - y * sin.v[i];
    const float turned_y = y * cos.v[i] + x * sin.v[i];
    Vector& to = i < kPairs / 2 ? out_a : out_b;
    if (neox)
      out_a.v[i] = turned_x, out_b.v[i] = turned_y;
    else
      to.v[slot] = turned_x, to.v[slot + 1] = turned_y;
  }
  Store(out_a, low);
  Store(out_b, high);
}

__global__ void __launch_bounds__(kThreads)
    RopeKernel(RopeShape shape, const int32_t* __restrict__ positions,
               const float* __restrict__ table, __nv_bfloat16* __restrict__ query,
               __nv_bfloat16* __restrict__ key) {
  ptx::GridDependencyLaunch();
  const int heads = shape.query_heads + shape.key_heads;
  const int units = shape.rotary / 2 / kPairs;  // of a head
  const int i = static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x);
  const int token = i / (heads * units);
  ptx::GridDependencyWait();
  if (token >= shape.tokens) return;
  const int head = i / units % heads;
  const int pair = i % units * kPairs;
  const float* const row = table + static_cast<size_t>(positions[token]) * shape.rotary;
  const Vector cos = LoadTable(row + pair);
  const Vector sin = LoadTable(row + shape.rotary / 2 + pair);
  const bool is_query = head < shape.query_heads;
  __nv_bfloat16* const row_start =
      is_query ? query + token * shape.query_stride : key + token * shape.key_stride;
  Rotate(shape, cos, sin, pair,
         row_start + (is_query ? head : head - shape.query_heads) * shape.head);
}

__global__ void NaiveKernel(RopeShape shape, const int32_t* positions, const float* table,
                            int heads, __nv_bfloat16* values) {
  const int pairs = shape.rotary / 2;
  const int i = static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x);
  if (i >= shape.tokens * heads * pairs) return;
  const int pair = i % pairs;
  const int token = i / pairs / heads;
  __nv_bfloat16* const head = values + static_cast<size_t>(i / pairs) * shape.head;
  const float* const row = table + static_cast<size_t>(positions[token]) * shape.rotary;
  const float cos = row[pair];
  const float sin = row[pairs + pair];
  const float x = __bfloat162float(head[First(shape, pair)]);
  const float y = __bfloat162float(head[Second(shape, pair)]);
  head[First(shape, pair)] = __float2bfloat16(x * cos - y * sin);
  head[Second(shape, pair)] = __float2bfloat16(y * cos + x * sin);
}

int BlocksFor(int threads) { return (threads + kThreads - 1) / kThreads; }

}  // namespace

void Rope(const RopeShape& shape, const int32_t* positions, const float* table,
          __nv_bfloat16* query, __nv_bfloat16* key, cudaStream_t stream) {
  RopeShape strided = shape;
  if (shape.query_stride == 0) strided.query_stride = int64_t{shape.query_heads} * shape.head;
  if (shape.key_stride == 0) strided.key_stride = int64_t{shape.key_heads} * shape.head;
  const int heads = shape.query_heads + shape.key_heads;
  const int threads = shape.tokens * heads * (shape.rotary / 2 / kPairs);
  Launch(RopeKernel, {BlocksFor(threads), kThreads, 0}, stream, strided, positions, table, query,
         key);
}

void RopeNaive(const RopeShape& shape, const int32_t* positions, const float* table,
               __nv_bfloat16* query, __nv_bfloat16* key, cudaStream_t stream) {
  const int pairs = shape.tokens * shape.rotary / 2;
  NaiveKernel<<<BlocksFor(pairs * shape.query_heads), kThreads, 0, stream>>>(
      shape, positions, table, shape.query_heads, query);
  NaiveKernel<<<BlocksFor(pairs * shape.key_heads), kThreads, 0, stream>>>(shape, positions, table,
                                                                           shape.key_heads, key);
  CUDA_CHECK(cudaGetLastError());
}

}  // namespace moecast::kernels
