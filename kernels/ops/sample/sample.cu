// A bf16 has 65536 values, so a row is its histogram: counts per value, from the largest down, give
// the kept values, their summed weights and the drawn value; one more look at the row finds which
// of the tokens with that value it is.
#include <cstddef>

#include "kernels/ops/launch.h"
#include "kernels/ops/ptx.cuh"
#include "kernels/ops/sample/sample.h"

namespace moecast::kernels {
namespace {

constexpr int kThreads = 1024;
constexpr int kWarps = kThreads / 32;
constexpr int kVector = 8;
// Values from the row's largest down. More are never needed: so far below, a weight is zero.
constexpr int kBins = 48 * kThreads;
constexpr int kBinsPerThread = kBins / kThreads;
constexpr unsigned kAll = 0xffffffffU;
constexpr unsigned kNothing = 0;  // the key of what is never taken
constexpr float kWeightUnits = 0x1p32F;

using Count = unsigned long long;

// The order of a value: larger values have larger keys; kNothing for -infinity and not-a-number.
__device__ unsigned KeyOf(unsigned bits) {
  const bool negative = (bits & 0x8000U) != 0;
  const unsigned magnitude = bits & 0x7fffU;
  if (magnitude > 0x7f80U || (negative && magnitude == 0x7f80U)) return kNothing;
  return negative ? 0x8000U - magnitude : 0x8000U + magnitude;
}
__device__ float ValueOf(unsigned key) {
  const unsigned bits = key >= 0x8000U ? key - 0x8000U : (0x8000U - key) | 0x8000U;
  return __uint_as_float(bits << 16U);
}

// Calls visit(index, key) for the vectors begin, begin + step, ... before end of a row.
template <class Visit>
__device__ void ForEachKey(const __nv_bfloat16* row, int begin, int step, int end, Visit visit) {
  for (int i = begin; i < end; i += step) {
    const uint4 raw = __ldg(reinterpret_cast<const uint4*>(row) + i);
    const unsigned words[4] = {raw.x, raw.y, raw.z, raw.w};
#pragma unroll
    for (int w = 0; w < 4; ++w) {
      visit(i * kVector + 2 * w, KeyOf(words[w] & 0xffffU));
      visit(i * kVector + 2 * w + 1, KeyOf(words[w] >> 16U));
    }
  }
}

struct Shared {
  Count of_warp[kWarps];
  Count weight;       // of the kept values
  unsigned best;      // largest key, then the first token of the largest logit
  unsigned last_bin;  // of the kept values
  unsigned drawn_key;
  unsigned drawn_place;  // among the tokens of that key
  unsigned bins[kBins];
};

// The sum over the threads before this one; `total` over all. Two barriers.
__device__ Count ScanBlock(Count value, Count* of_warp, Count& total) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  Count inclusive = value;
#pragma unroll
  for (int distance = 1; distance < 32; distance *= 2) {
    const Count below = __shfl_up_sync(kAll, inclusive, static_cast<unsigned>(distance));
    if (lane >= distance) inclusive += below;
  }
  __syncthreads();
  if (lane == 31) of_warp[threadIdx.x / 32] = inclusive;
  __syncthreads();
  Count before = 0;
  total = 0;
  for (int w = 0; w < kWarps; ++w) {
    if (w < static_cast<int>(threadIdx.x) / 32) before += of_warp[w];
    total += of_warp[w];
  }
  return before + inclusive - value;
}

// One row's histogram, from the value of bin 0 down, and its rule.
struct Row {
  const unsigned* bins;
  unsigned best;
  float temperature;

  __device__ Count Weight(int bin) const {
    if (best <= static_cast<unsigned>(bin)) return 0;
    const float distance = ValueOf(best - static_cast<unsigned>(bin)) - ValueOf(best);
    return static_cast<Count>(__float2ull_rn(__expf(distance / temperature) * kWeightUnits));
  }
  // What a bin adds: its tokens, or their weights.
  __device__ Count Adds(int bin, bool weighted) const {
    const Count count = bins[bin];
    return weighted && count > 0 ? count * Weight(bin) : count;
  }
};

// The first bin with which the running sum reaches `target`, into shared.last_bin, unless that is
// beyond the bins; `reached` is the sum with it, as seen by the thread that owns it.
__device__ void FindBin(const Row& row, bool weighted, Count before, Count target, Shared& shared) {
  Count sum = before;
  const int first = static_cast<int>(threadIdx.x) * kBinsPerThread;
  for (int bin = first; bin < first + kBinsPerThread && sum < target; ++bin) {
    sum += row.Adds(bin, weighted);
    if (sum < target) continue;
    shared.last_bin = min(shared.last_bin, static_cast<unsigned>(bin));
    shared.weight = sum;
  }
}

__device__ Count AddUp(const Row& row, bool weighted, unsigned last_bin) {
  Count sum = 0;
  const int first = static_cast<int>(threadIdx.x) * kBinsPerThread;
  for (int bin = first; bin < first + kBinsPerThread; ++bin) {
    if (static_cast<unsigned>(bin) <= last_bin) sum += row.Adds(bin, weighted);
  }
  return sum;
}

// Keeps what the rule keeps and draws: shared.drawn_key and drawn_place.
__device__ void Draw(const Row& row, const SampleRule& rule, Shared& shared) {
  if (threadIdx.x == 0) shared.last_bin = kBins - 1;
  __syncthreads();
  Count total = 0;
  if (rule.top_k > 0) {
    const Count before = ScanBlock(AddUp(row, false, kBins), shared.of_warp, total);
    FindBin(row, false, before, static_cast<Count>(rule.top_k), shared);
    __syncthreads();
  }
  const unsigned last = shared.last_bin;
  const Count before = ScanBlock(AddUp(row, true, last), shared.of_warp, total);
  if (threadIdx.x == 0) shared.weight = total;
  __syncthreads();
  if (rule.top_p < 1) {
    const auto target =
        static_cast<Count>(ceil(static_cast<double>(rule.top_p) * static_cast<double>(total)));
    FindBin(row, true, before, max(target, Count{1}), shared);
    __syncthreads();
  }
  const auto drawn =
      static_cast<Count>(static_cast<double>(rule.uniform) * static_cast<double>(shared.weight));
  Count sum = before;
  const int first = static_cast<int>(threadIdx.x) * kBinsPerThread;
  for (int bin = first; bin < first + kBinsPerThread && sum <= drawn; ++bin) {
    const Count adds = static_cast<unsigned>(bin) <= last ? row.Adds(bin, true) : 0;
    if (drawn < sum + adds) {
      shared.drawn_key = row.best - static_cast<unsigned>(bin);
      shared.drawn_place = static_cast<unsigned>((drawn - sum) / row.Weight(bin));
    }
    sum += adds;
  }
  __syncthreads();
}

// The token that is the `place`-th of its key in the row: warps own contiguous parts.
__device__ void FindToken(const __nv_bfloat16* row, int vectors, Shared& shared, int32_t* token) {
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int share = (vectors + kWarps - 1) / kWarps;
  const int begin = min(warp * share, vectors);
  const int end = min(begin + share, vectors);
  const unsigned key = shared.drawn_key;
  unsigned mine = 0;
  ForEachKey(row, begin + lane, 32, end, [&](int, unsigned k) { mine += k == key ? 1U : 0U; });
  const unsigned of_warp = __reduce_add_sync(kAll, mine);
  Count total = 0;
  const Count before = ScanBlock(lane == 0 ? of_warp : 0U, shared.of_warp, total);
  const auto skipped = static_cast<unsigned>(__shfl_sync(kAll, before, 0));
  if (shared.drawn_place < skipped || shared.drawn_place >= skipped + of_warp) return;
  unsigned left = shared.drawn_place - skipped;
  for (int first = begin; first < end; first += 32) {
    unsigned found = 0;
    ForEachKey(row, first + lane, 32, min(first + 32, end),
               [&](int, unsigned k) { found += k == key ? 1U : 0U; });
    unsigned inclusive = found;
#pragma unroll
    for (int distance = 1; distance < 32; distance *= 2) {
      const unsigned below = __shfl_up_sync(kAll, inclusive, static_cast<unsigned>(distance));
      if (lane >= distance) inclusive += below;
    }
    unsigned place = inclusive - found;
    ForEachKey(row, first + lane, 32, min(first + 32, end), [&](int i, unsigned k) {
      if (k == key && place++ == left) *token = i;
    });
    const unsigned all = __shfl_sync(kAll, inclusive, 31);
    if (left < all) return;
    left -= all;
  }
}

__global__ void __launch_bounds__(kThreads)
    SampleKernel(int vocabulary, const __nv_bfloat16* __restrict__ logits,
                 const SampleRule* __restrict__ rules, int32_t* __restrict__ token) {
  extern __shared__ __align__(16) unsigned char memory[];
  Shared& shared = *reinterpret_cast<Shared*>(memory);
  const int vectors = vocabulary / kVector;
  ptx::GridDependencyLaunch();
  if (threadIdx.x == 0) shared.best = kNothing;
  __syncthreads();
  ptx::GridDependencyWait();
  const __nv_bfloat16* const row = logits + static_cast<size_t>(blockIdx.x) * vocabulary;
  const SampleRule rule = rules[blockIdx.x];
  int32_t* const out = token + blockIdx.x;
  unsigned best = kNothing;
  ForEachKey(row, static_cast<int>(threadIdx.x), kThreads, vectors,
             [&](int, unsigned key) { best = max(best, key); });
  best = __reduce_max_sync(kAll, best);
  if (threadIdx.x % 32 == 0) atomicMax(&shared.best, best);
  if (rule.temperature > 0) {
    for (int bin = static_cast<int>(threadIdx.x); bin < kBins; bin += kThreads)
      shared.bins[bin] = 0;
  }
  __syncthreads();
  best = shared.best;
  if (best == kNothing) {
    if (threadIdx.x == 0) *out = 0;
    return;
  }
  if (rule.temperature > 0) {
    ForEachKey(row, static_cast<int>(threadIdx.x), kThreads, vectors, [&](int, unsigned key) {
      if (key != kNothing && best - key < kBins) atomicAdd(&shared.bins[best - key], 1U);
    });
    __syncthreads();
    Draw({shared.bins, best, rule.temperature}, rule, shared);
  } else if (threadIdx.x == 0) {
    shared.drawn_key = best;
    shared.drawn_place = 0;
  }
  __syncthreads();
  FindToken(row, vectors, shared, out);
}

}  // namespace

void Sample(int rows, int vocabulary, const __nv_bfloat16* logits, const SampleRule* rules,
            int32_t* token, cudaStream_t stream) {
  Launch(SampleKernel, {rows, kThreads, sizeof(Shared)}, stream, vocabulary, logits, rules, token);
}

}  // namespace moecast::kernels
