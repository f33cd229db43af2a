// The kernel of decode attention: a persistent block per multiprocessor, whose warps each stream
// their own share of the units through their own ring and never wait for each other before the end.
// What a warp finishes alone it writes; what it shares is merged in the block, and what blocks
// share is merged by the last of them to arrive.
#pragma once

#include <cstdint>

#include "kernels/ops/attend/partial.cuh"
#include "kernels/ops/attend/process.cuh"
#include "kernels/ops/launch.h"

namespace moecast::kernels {

inline constexpr int kNoSegment = -1;

/// A warp's units [first, end).
struct UnitShare {
  int32_t first;
  int32_t end;
};

/// Device memory behind AttendArgs::workspace, laid out for all blocks of the card.
template <int kHead, int kTiles>
struct Workspace {
  Partial<kHead, kTiles>* posted;  // [blocks]: of the segment that goes on in the next block
  Partial<kHead, kTiles>* early;   // [blocks][warps]: of a segment begun before
};

template <int kHead, int kTiles>
__device__ __forceinline__ Workspace<kHead, kTiles> WorkspaceAt(const KernelArgs& args) {
  auto* const start = static_cast<uint8_t*>(args.call.workspace);
  return {reinterpret_cast<Partial<kHead, kTiles>*>(start),
          reinterpret_cast<Partial<kHead, kTiles>*>(start + PostedBytes(args.card_blocks))};
}

/// What a thread knows of the launch.
template <int kHead, int kTiles>
struct Block {
  const KernelArgs& args;
  BlockShared& shared;
  UnitTables tables;
  uint8_t* memory;  // shared, from its start
  int32_t units;    // of all
  int blocks;       // that take part
  int32_t first;    // units of this block
  int32_t end;

  [[nodiscard]] __device__ __forceinline__ uint8_t* Ring(int warp) const {
    return memory + args.block.rings + warp * args.block.slots * args.block.slot_bytes;
  }
  /// The last result of a warp lies in its ring, which is empty by then.
  [[nodiscard]] __device__ __forceinline__ Partial<kHead, kTiles>& LastOf(int warp) const {
    return *reinterpret_cast<Partial<kHead, kTiles>*>(Ring(warp));
  }
  [[nodiscard]] __device__ __forceinline__ Partial<kHead, kTiles>& EarlyOf(int warp) const {
    return WorkspaceAt<kHead, kTiles>(args)
        .early[static_cast<int>(blockIdx.x) * MostWarps(kTiles) + warp];
  }
  [[nodiscard]] __device__ __forceinline__ int32_t StartOf(int32_t segment) const {
    const int heads = args.call.shape.kv.kv_heads;
    return SegmentStart(tables.starts, heads, segment / heads, segment % heads);
  }
  [[nodiscard]] __device__ __forceinline__ int32_t EndOf(int32_t segment) const {
    const int sequence = segment / args.call.shape.kv.kv_heads;
    return StartOf(segment) + tables.starts[sequence + 1] - tables.starts[sequence];
  }
  [[nodiscard]] __device__ __forceinline__ const __nv_bfloat16* QueryOf(int32_t segment) const {
    const int heads = args.call.shape.kv.kv_heads;
    return args.call.query + segment / heads * args.call.query_stride +
           segment % heads * QueriesPerHead(args.call.shape) * kHead;
  }
  [[nodiscard]] __device__ __forceinline__ __nv_bfloat16* OutOf(int32_t segment) const {
    return args.call.out + static_cast<int64_t>(segment) * QueriesPerHead(args.call.shape) * kHead;
  }
};

/// Makes the query fit units of `unit`'s kind. `loaded`: it has been read.
template <int kHead, int kTiles>
__device__ __forceinline__ void TurnTo(const Block<kHead, kTiles>& block, const Unit& unit,
                                       bool loaded, Running<kHead, kTiles>& run) {
  if (!loaded) LoadQuery(block.QueryOf(unit.segment), QueriesPerHead(block.args.call.shape), run);
  const KvPart& keys = block.args.call.scheme.keys;
  if (unit.slab() || keys.element == KvElement::kBf16) return;
  ConvertQuery(block.args.units, run);
  if (IsInteger(keys.element) && keys.axis == ScaleAxis::kToken) SumQuery(block.args.units, run);
}

/// The sequence and head that a warp is in.
struct Held {
  int32_t segment = kNoSegment;
  bool slab = false;   // the last unit was one
  bool began = false;  // its first unit was the warp's
  bool ends = false;   // the last unit was its last
};

/// Hands over what the warp holds: all of a segment, or a part for others to merge. `early`: the
/// warp's ring is still in use.
template <int kHead, int kTiles>
__device__ __forceinline__ void Leave(const Block<kHead, kTiles>& block, const Held& held,
                                      bool early, Running<kHead, kTiles>& run) {
  const int warp = static_cast<int>(threadIdx.x) / 32;
  Complete(block.args.units, held.slab, block.args.call.scheme.values, run);
  if (held.began && held.ends)
    return WriteOut(run, QueriesPerHead(block.args.call.shape), block.OutOf(held.segment));
  Store(run, early ? block.EarlyOf(warp) : block.LastOf(warp));
  if (threadIdx.x % 32 != 0) return;
  if (!held.began) block.shared.begun_before[warp] = held.segment;
  if (!held.ends) block.shared.ends_later[warp] = held.segment;
  if (early) block.shared.early[warp] = true;
}

/// Prepares for `unit`, or, `done` with the share, for nothing. REQUIRES: the first unit's query is
/// read.
template <int kHead, int kTiles>
__device__ __forceinline__ void MoveTo(const Block<kHead, kTiles>& block, const Unit& unit,
                                       bool done, Held& held, Running<kHead, kTiles>& run) {
  const bool same = !done && unit.segment == held.segment;
  if (!same) {
    if (held.segment != kNoSegment) Leave(block, held, !done, run);
    if (done) return;
    Clear(run);
    held.began = unit.first();
  }
  if (!same || unit.slab() != held.slab) {
    if (same) ChangeUnits(held.slab ? block.args.units.code : block.args.units.sum, run);
    TurnTo(block, unit, held.segment == kNoSegment, run);
  }
  held.segment = unit.segment;
  held.slab = unit.slab();
  held.ends = unit.last();
}

/// A warp's work, unit by unit. Each step is written in one place: a launch starts with cold
/// instruction caches, and fetching is what a warp's first unit waits for. The first query is read
/// between the requests of the first unit and of those that fill the ring: it would wait behind
/// them.
template <int kMostBits, int kHead, int kTiles>
__device__ __forceinline__ void Stream(const Block<kHead, kTiles>& block, const UnitShare& share) {
  const KernelArgs& args = block.args;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int slots = args.block.slots;
  const UnitRing ring{block.Ring(warp), block.shared.full[warp], ptx::EvictFirst()};
  const uint32_t base = ptx::SharedAddress(ring.slots);
  const float factor = args.call.softmax_scale * 1.44269504F;  // log2 e
  const int32_t count = share.end - share.first;
  UnitQueue queue(args.call, block.tables, share.first, count);
  Running<kHead, kTiles> run;
  Held held;
  int at = 0;
  uint32_t parity = 0;
  int32_t requested = 0;
  int request_at = 0;
  for (int32_t i = 0;; ++i) {
    queue.Advance(i);
#pragma unroll 1
    for (; requested < Least(i + slots, count); ++requested) {
      const Unit later = queue.Peek(requested);
      if (threadIdx.x % 32 == 0) Request(args, ring, later, request_at);
      if (++request_at == slots) request_at = 0;
      if (requested == 0)
        LoadQuery(block.QueryOf(later.segment), QueriesPerHead(args.call.shape), run);
    }
    const Unit unit = queue.Peek(Least(i, count - 1));
    MoveTo(block, unit, i == count, held, run);
    if (i == count) return;
    ptx::BarrierWait(&ring.full[at], parity);
    const uint32_t slot = base + static_cast<uint32_t>(at * args.block.slot_bytes);
    if (unit.slab())
      ProcessSlab(unit, slot, factor, run);
    else
      ProcessPage<kMostBits>(args, unit, slot, factor, run);
    __syncwarp();
    if (++at == slots) {
      at = 0;
      parity ^= 1U;
    }
  }
}

/// What the block's warps left of one segment; bit w stands for warp w.
struct LeftByWarps {
  int32_t segment;
  uint32_t warps;
  uint32_t early;
};

/// A thread's share of a merge: of quad `quad` every parts-th partial result from the part-th on.
struct QuadShare {
  int quad;
  int part;
  int parts;
};

/// Adds what warps left.
template <int kHead, int kTiles>
__device__ __forceinline__ void AddWarps(const Block<kHead, kTiles>& block, const LeftByWarps& left,
                                         const QuadShare& share, MergedQuad& merged) {
  constexpr int kAtOnce = 4;
  const int softmax = FirstHeadOfQuad<kHead, kTiles>(share.quad) / 2;
  uint32_t warps = 0;
  for (int warp = share.part; warp < block.args.block.warps; warp += share.parts)
    warps |= left.warps & 1U << warp;
  while (warps != 0) {
    float4 sums[kAtOnce];
    float4 softmaxes[kAtOnce];
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      sums[i] = make_float4(0, 0, 0, 0);
      softmaxes[i] = make_float4(kLowest, 0, kLowest, 0);
      if (warps == 0) continue;
      const int warp = __ffs(static_cast<int>(warps)) - 1;
      warps &= warps - 1;
      const Partial<kHead, kTiles>& partial =
          (left.early >> warp & 1U) != 0 ? block.EarlyOf(warp) : block.LastOf(warp);
      sums[i] = partial.sum[share.quad];
      softmaxes[i] = partial.softmax[softmax];
    }
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) Add(sums[i], softmaxes[i], merged);
  }
}

/// Adds what the threads of the other parts have of a quad; all threads of the block. Those of part
/// 0 have the whole then.
template <int kHead, int kTiles>
__device__ __forceinline__ void AddParts(const Block<kHead, kTiles>& block, int quads,
                                         const QuadShare& share, MergedQuad& merged) {
  const auto scratch_of = [&](int thread) {
    return reinterpret_cast<float4*>(block.Ring(thread / 32) + sizeof(Partial<kHead, kTiles>)) +
           2 * (thread % 32);
  };
  const auto thread = static_cast<int>(threadIdx.x);
  if (share.part > 0) {
    float4* const own = scratch_of(thread);
    own[0] = make_float4(merged.sum[0], merged.sum[1], merged.sum[2], merged.sum[3]);
    own[1] = make_float4(merged.largest[0], merged.weight[0], merged.largest[1], merged.weight[1]);
  }
  __syncthreads();
  if (share.part > 0) return;
  for (int part = 1; part < share.parts; ++part) {
    const float4* const other = scratch_of(thread + part * quads);
    Add(other[0], other[1], merged);
  }
}

/// Threads that finish a segment together.
struct Team {
  int thread;  // this one's number
  int threads;
};

/// Merges what warps left, with what the blocks before posted if the segment began there, and
/// writes it, or posts it if the segment goes on. A team of the whole block shares quads where
/// results are many. REQUIRES: a smaller team's segment begins in the block.
template <int kHead, int kTiles>
__device__ __forceinline__ void Finish(const Block<kHead, kTiles>& block, const LeftByWarps& left,
                                       const Team& team) {
  const auto index = static_cast<int>(blockIdx.x);
  const bool whole = team.threads == static_cast<int>(blockDim.x);
  const int heads = QueriesPerHead(block.args.call.shape);
  const int32_t start = block.StartOf(left.segment);
  const bool goes_on = block.EndOf(left.segment) > block.end;
  const int before =
      goes_on || start >= block.first ? 0 : index - OwnerOf(block.units, block.blocks, start);
  Partial<kHead, kTiles>* const own = WorkspaceAt<kHead, kTiles>(block.args).posted + index;
  const int quads = QuadsOf<kHead>(heads);
  const int results = __popc(left.warps) + before;
  const int parts = whole ? Most(Least(team.threads / quads, (results + 3) / 4), 1) : 1;
  for (int first = 0; first < quads; first += team.threads) {
    const int place = first + team.thread;
    const QuadShare share{
        .quad = QuadAt<kTiles>(place % quads, heads), .part = place / quads, .parts = parts};
    MergedQuad merged;
    if (share.part < parts) {
      AddWarps(block, left, share, merged);
      AddPosted(share.quad, share.part, before, parts, own - before, merged);
    }
    if (parts > 1) AddParts(block, quads, share, merged);
    if (share.part > 0) continue;
    if (goes_on)
      Post(merged, share.quad, *own);
    else
      WriteOut<kHead, kTiles>(merged, share.quad, heads, block.OutOf(left.segment));
  }
  if (parts == 1 && before == 0) return;
  __syncthreads();
  for (int i = team.thread; i < 4 * kTiles * before; i += team.threads)
    (own - before)[i / (4 * kTiles)].softmax[i % (4 * kTiles)] = make_float4(0, 0, 0, 0);
}

/// Finishes what the warps of the block left: the segments that begin in the block side by side, a
/// team of warps each; then all warps the one that other blocks began, for which they may have to
/// wait.
template <int kHead, int kTiles>
__device__ __forceinline__ void FinishAll(const Block<kHead, kTiles>& block) {
  constexpr uint32_t kAll = 0xffffffffU;
  const BlockShared& shared = block.shared;
  const int warps = block.args.block.warps;
  const int lane = static_cast<int>(threadIdx.x) % 32;  // stands for that warp
  const bool exists = lane < warps;
  const int32_t begun_before = exists ? shared.begun_before[lane] : kNoSegment;
  const int32_t ends_later = exists ? shared.ends_later[lane] : kNoSegment;
  const uint32_t early = __ballot_sync(kAll, exists && shared.early[lane]);
  // The warp of each segment's first part: one that began it, or the first that has it.
  const bool begins = ends_later != kNoSegment && ends_later != begun_before;
  const uint32_t first_parts = __ballot_sync(kAll, begins);
  const uint32_t others = __ballot_sync(kAll, begun_before != kNoSegment);
  const int count = __popc(first_parts);
  const int rank = __popc(first_parts & ((1U << lane) - 1));
  const auto thread = static_cast<int>(threadIdx.x);
  const Team all{thread, static_cast<int>(blockDim.x)};
  // Warps of each team, where there are several, in powers of two.
  const int log_warps = (2 * count <= warps) + (4 * count <= warps) + (8 * count <= warps);
  const int threads = 32 << log_warps;
  const Team own = count <= 1 ? all : Team{thread & (threads - 1), threads};
  for (int n = count <= 1 ? 0 : thread / 32 >> log_warps;; n += warps >> log_warps) {
    const bool here = n < count;
    if (!here && others == 0) return;
    const uint32_t with_first = here ? __ballot_sync(kAll, begins && rank == n) : others;
    const int first = __ffs(static_cast<int>(with_first)) - 1;
    LeftByWarps left;
    left.segment = __shfl_sync(kAll, here ? ends_later : begun_before, first);
    left.warps = __ballot_sync(kAll, begun_before == left.segment);
    left.early = left.warps & early;
    if (here)
      left.warps |= 1U << first;
    else if (__any_sync(kAll, begins && ends_later == left.segment))
      return;
    Finish(block, left, here ? own : all);
    if (!here) return;
  }
}

template <int kMostBits, int kHead, int kTiles>
__global__ void __launch_bounds__(32 * MostWarps(kTiles), 1)
    AttendKernel(__grid_constant__ const KernelArgs args) {
  extern __shared__ __align__(128) uint8_t memory[];
  auto& shared = *reinterpret_cast<BlockShared*>(memory);
  const int warps = args.block.warps;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  if (threadIdx.x % 32 < kMostSlots) {
    ptx::BarrierInit(&shared.full[warp][threadIdx.x % 32], 1);
    ptx::BarrierInitFence();
  }
  if (threadIdx.x < kMostWarps) {
    shared.begun_before[threadIdx.x] = shared.ends_later[threadIdx.x] = kNoSegment;
    shared.early[threadIdx.x] = false;
  }
  PrefetchTables(args.call);
  ptx::GridDependencyWait();
  ptx::GridDependencyLaunch();
  UnitTables tables;
  tables.starts = reinterpret_cast<int32_t*>(&shared + 1);
  tables.lengths = tables.starts + args.call.shape.sequences + 1;
  tables.ends_of_pages = tables.lengths + args.call.shape.sequences;
  const int32_t units = CountUnits(args.call, tables);
  const int blocks = BlocksFor(units, args.blocks, warps);
  const auto index = static_cast<int>(blockIdx.x);
  if (index >= blocks) return;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int32_t start = ShareStart(units, blocks * warps, index * warps + Least(lane, warps));
  const auto start_of = [&](int w) { return __shfl_sync(0xffffffffU, start, w); };
  const Block<kHead, kTiles> block{.args = args,
                                   .shared = shared,
                                   .tables = tables,
                                   .memory = memory,
                                   .units = units,
                                   .blocks = blocks,
                                   .first = start_of(0),
                                   .end = start_of(warps)};
  const UnitShare share{start_of(warp), start_of(warp + 1)};
  if (share.first < share.end) Stream<kMostBits>(block, share);
  __syncthreads();
  FinishAll(block);
}

/// For `block.warps` warps on each of `blocks` multiprocessors.
template <int kHead, int kTiles>
void LaunchAttend(const KernelArgs& args, int blocks, cudaStream_t stream) {
  const int most_bits = MostBits(args.call.scheme);
  Launch(most_bits == 2   ? AttendKernel<2, kHead, kTiles>
         : most_bits == 4 ? AttendKernel<4, kHead, kTiles>
                          : AttendKernel<kAllBits, kHead, kTiles>,
         {.blocks = blocks,
          .threads = 32 * args.block.warps,
          .shared_bytes = static_cast<size_t>(args.block.bytes)},
         stream, args);
}

}  // namespace moecast::kernels
