// A warp stores one token: 16 channels of the latent per lane, eight lanes to a group.
#include "kernels/ops/kv/latent.h"
#include "kernels/ops/kv/quantise.cuh"
#include "kernels/ops/launch.h"
#include "kernels/ops/ptx.cuh"

namespace moecast::kernels {
namespace {

constexpr int kThreads = 128;
constexpr int kOwned = kLatentChannels / 32;  // channels of a lane
constexpr unsigned kAll = 0xffffffffU;

struct Values {
  float v[kOwned];
};

__device__ Values ValuesOf(const uint4 (&raw)[2]) {
  Values values;
  const auto* const pairs = reinterpret_cast<const __nv_bfloat162*>(raw);
#pragma unroll
  for (int i = 0; i < kOwned / 2; ++i) {
    const float2 two = __bfloat1622float2(pairs[i]);
    values.v[2 * i] = two.x, values.v[2 * i + 1] = two.y;
  }
  return values;
}

// The quantiser of a lane's group; its first lane stores the scale.
__device__ Quantiser GroupQuantiser(KvElement element, const LatentLayout& layout,
                                    const Values& values, int token, uint8_t* page) {
  float low = values.v[0];
  float high = values.v[0];
#pragma unroll
  for (int i = 1; i < kOwned; ++i) {
    low = fminf(low, values.v[i]);
    high = fmaxf(high, values.v[i]);
  }
#pragma unroll
  for (int distance = 4; distance > 0; distance /= 2) {
    low = fminf(low, __shfl_xor_sync(kAll, low, distance));
    high = fmaxf(high, __shfl_xor_sync(kAll, high, distance));
  }
  const KvPart part{.element = element, .group = kLatentGroup};
  StoredScale stored;
  const Quantiser q = QuantiserOf(part, low, high, stored);
  const int lane = static_cast<int>(threadIdx.x % 32);
  if (lane % 8 == 0)
    StoreScale(part, page + layout.scales, page + layout.zeros, lane / 8 * kPageTokens + token,
               stored);
  return q;
}

__device__ void StoreE4m3(const Values& x, const Quantiser& q, uint8_t* row) {
  uint32_t words[4];
#pragma unroll
  for (int w = 0; w < 4; ++w)
    words[w] = BiasedPair<KvElement::kE4m3>(x.v[4 * w], x.v[4 * w + 1], q, q) |
               BiasedPair<KvElement::kE4m3>(x.v[4 * w + 2], x.v[4 * w + 3], q, q) << 16;
  reinterpret_cast<uint4*>(row)[threadIdx.x % 32] =
      make_uint4(words[0], words[1], words[2], words[3]);
}

__device__ void StoreInt4(const Values& x, const Quantiser& q, uint8_t* row) {
  uint32_t words[2] = {};
#pragma unroll
  for (int w = 0; w < 2; ++w) {
#pragma unroll
    for (int j = 0; j < 4; ++j)
      words[w] += (BiasedPair<KvElement::kInt4>(x.v[8 * w + 2 * j], x.v[8 * w + 2 * j + 1], q, q) -
                   PairBias<KvElement::kInt4>())
                  << (4 * j);
  }
  reinterpret_cast<uint2*>(row)[threadIdx.x % 32] = make_uint2(words[0], words[1]);
}

__global__ void __launch_bounds__(kThreads)
    LatentKernel(const __grid_constant__ LatentArgs args, LatentLayout layout) {
  ptx::GridDependencyLaunch();
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int warp = static_cast<int>((blockIdx.x * kThreads + threadIdx.x) / 32);
  const int sequence = warp / args.most_new_tokens;
  const int fresh = warp % args.most_new_tokens;
  if (sequence >= args.sequences) return;
  ptx::GridDependencyWait();
  const bool one = args.row_starts == nullptr;
  const int first_row = one ? sequence : args.row_starts[sequence];
  const int count = one ? 1 : args.row_starts[sequence + 1] - first_row;
  const int position = args.lengths[sequence] - count + fresh;
  if (fresh >= count || position < 0) return;
  const int64_t from = first_row + fresh;
  const auto* const latent = args.latents + from * args.latent_stride + lane * kOwned;
  const uint4 raw[2] = {ptx::LoadCached(latent), ptx::LoadCached(latent + 8)};
  uint8_t* const page =
      args.pages + static_cast<int64_t>(layout.page_bytes) *
                       args.block_table[static_cast<int64_t>(sequence) * args.pages_per_sequence +
                                        position / kPageTokens];
  const int token = position % kPageTokens;
  if (lane < kRotaryChannels / 8)
    reinterpret_cast<uint4*>(page + layout.rotary + token * kRotaryChannels * 2)[lane] =
        ptx::LoadCached(args.rotary + from * args.rotary_stride + lane * 8);
  uint8_t* const row = page + token * layout.row_bytes;
  if (args.element == KvElement::kBf16) {
    reinterpret_cast<uint4*>(row)[2 * lane] = raw[0];
    reinterpret_cast<uint4*>(row)[2 * lane + 1] = raw[1];
    return;
  }
  const Values x = ValuesOf(raw);
  const Quantiser q = GroupQuantiser(args.element, layout, x, token, page);
  if (args.element == KvElement::kE4m3)
    StoreE4m3(x, q, row);
  else
    StoreInt4(x, q, row);
}

}  // namespace

void AppendLatents(const LatentArgs& args, cudaStream_t stream) {
  const int warps = args.sequences * args.most_new_tokens;
  constexpr int kWarps = kThreads / 32;
  Launch(LatentKernel, {.blocks = (warps + kWarps - 1) / kWarps, .threads = kThreads}, stream, args,
         LatentLayoutOf(args.element));
}

}  // namespace moecast::kernels
