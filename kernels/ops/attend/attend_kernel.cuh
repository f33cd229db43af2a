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
  uint32_t* arrivals;                // [blocks], of the segment that begins in that block
  Partial<kHead, kTiles>* partials;  // [blocks][2]: of a segment begun before, of one begun here
  Partial<kHead, kTiles>* early;     // [blocks][warps]: of a segment begun before
};

template <int kHead, int kTiles>
__device__ __forceinline__ Workspace<kHead, kTiles> WorkspaceAt(const KernelArgs& args) {
  auto* const start = static_cast<uint8_t*>(args.call.workspace);
  auto* const partials =
      reinterpret_cast<Partial<kHead, kTiles>*>(start + ArrivalBytes(args.card_blocks));
  return {reinterpret_cast<uint32_t*>(start), partials, partials + 2 * args.card_blocks};
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

/// The element of values whose units the sums are in.
__device__ __forceinline__ KvElement ValuesOf(const KvScheme& scheme, bool slab) {
  return slab ? KvElement::kBf16 : scheme.values.element;
}

/// Makes the query and the sums fit units of the other kind.
template <int kHead, int kTiles>
__device__ __forceinline__ void TurnTo(const Block<kHead, kTiles>& block, const Unit& unit,
                                       float factor, Running<kHead, kTiles>& run) {
  const KvScheme& scheme = block.args.call.scheme;
  const KvElement keys = unit.slab() ? KvElement::kBf16 : scheme.keys.element;
  LoadQuery(block.QueryOf(unit.segment), QueriesPerHead(block.args.call.shape), keys, factor, run);
  if (IsInteger(keys) && scheme.keys.axis == ScaleAxis::kToken) SumQuery(BitsOf(keys), run);
}

/// Hands over what the warp that has units [first, last) has of `segment`, whose units it has up to
/// `end`.
template <int kHead, int kTiles>
__device__ __forceinline__ void Leave(const Block<kHead, kTiles>& block, int32_t segment, bool slab,
                                      const UnitShare& share, int32_t end,
                                      Running<kHead, kTiles>& run) {
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const KvScheme& scheme = block.args.call.scheme;
  Complete(ValuesOf(scheme, slab), scheme.values, run);
  const bool began = block.StartOf(segment) >= share.first;
  const bool ends = block.EndOf(segment) <= end;
  if (began && ends)
    return WriteOut(run, QueriesPerHead(block.args.call.shape), block.OutOf(segment));
  const bool early = end < share.end;
  Store(run, early ? block.EarlyOf(warp) : block.LastOf(warp));
  if (threadIdx.x % 32 != 0) return;
  (began ? block.shared.ends_later : block.shared.begun_before)[warp] = segment;
  block.shared.early[warp] = block.shared.early[warp] || early;
}

/// A warp's work, unit by unit.
template <int kHead, int kTiles>
__device__ __forceinline__ void Stream(const Block<kHead, kTiles>& block, const UnitShare& share) {
  const KernelArgs& args = block.args;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const bool requests = threadIdx.x % 32 == 0;
  const int slots = args.block.slots;
  const UnitRing ring{block.Ring(warp), block.shared.full[warp], ptx::EvictFirst()};
  const uint32_t base = ptx::SharedAddress(ring.slots);
  const float factor = args.call.softmax_scale * 1.44269504F;  // log2 e
  const int32_t count = share.end - share.first;
  UnitQueue queue(args.call, block.tables, share.first, count);
  for (int i = 0; i < slots && i < count; ++i) {
    const Unit unit = queue.Peek(i);
    if (requests) Request(args, ring, unit, i);
  }
  Running<kHead, kTiles> run;
  int32_t segment = kNoSegment;
  bool slab = false;
  int at = 0;
  uint32_t parity = 0;
  for (int32_t i = 0; i < count; ++i) {
    queue.Advance(i);
    const Unit unit = queue.Peek(i);
    if (unit.segment != segment) {
      if (segment != kNoSegment) Leave(block, segment, slab, share, share.first + i, run);
      Clear(run);
      TurnTo(block, unit, factor, run);
    } else if (unit.slab() != slab) {
      ChangeUnits(ValuesOf(args.call.scheme, slab), ValuesOf(args.call.scheme, unit.slab()), run);
      TurnTo(block, unit, factor, run);
    }
    segment = unit.segment;
    slab = unit.slab();
    ptx::BarrierWait(&ring.full[at], parity);
    const uint32_t slot = base + static_cast<uint32_t>(at * args.block.slot_bytes);
    if (slab)
      ProcessSlab(unit, slot, factor, run);
    else
      ProcessPage(args, unit, slot, factor, run);
    __syncwarp();
    if (i + slots < count) {
      const Unit later = queue.Peek(i + slots);
      if (requests) Request(args, ring, later, at);
    }
    if (++at == slots) {
      at = 0;
      parity ^= 1U;
    }
  }
  Leave(block, segment, slab, share, share.end, run);
}

/// Merges the partial results of the blocks that share `segment`; the last of them to come writes.
template <int kHead, int kTiles>
__device__ __forceinline__ void ArriveAndFinish(const Block<kHead, kTiles>& block,
                                                int32_t segment) {
  const auto workspace = WorkspaceAt<kHead, kTiles>(block.args);
  const int first = OwnerOf(block.units, block.blocks, block.StartOf(segment));
  const int last = OwnerOf(block.units, block.blocks, block.EndOf(segment) - 1);
  const int count = last - first + 1;
  __syncthreads();
  if (threadIdx.x == 0) {
    __threadfence();
    const uint32_t before = atomicAdd(&workspace.arrivals[first], 1U);
    block.shared.last = before == static_cast<uint32_t>(count) - 1;
    if (block.shared.last) workspace.arrivals[first] = 0;
    __threadfence();
  }
  __syncthreads();
  if (!block.shared.last) return;
  for (int quad = static_cast<int>(threadIdx.x); quad < Partial<kHead, kTiles>::kQuads;
       quad += static_cast<int>(blockDim.x)) {
    const MergedQuad merged =
        Merge<kHead, kTiles>(quad, count, [&](int i) -> const Partial<kHead, kTiles>& {
          return workspace.partials[2 * (first + i) + (i == 0 ? 1 : 0)];
        });
    WriteOut<kHead, kTiles>(merged, quad, QueriesPerHead(block.args.call.shape),
                            block.OutOf(segment));
  }
}

/// Merges what the warps of the block left, one segment after the other. A segment's first part is
/// what its first warp did not end, unless another block has that; the others are what the warps
/// behind it did not begin.
template <int kHead, int kTiles>
__device__ __forceinline__ void MergeWarps(const Block<kHead, kTiles>& block) {
  using Result = Partial<kHead, kTiles>;
  const BlockShared& shared = block.shared;
  const auto workspace = WorkspaceAt<kHead, kTiles>(block.args);
  const int warps = block.args.block.warps;
  const int heads = QueriesPerHead(block.args.call.shape);
  for (int entry = 0; entry < 2 * warps;) {  // 2 w: not begun by warp w, 2 w + 1: not ended by it
    const int warp = entry / 2;
    const bool begun_before = entry % 2 == 0;
    const int32_t segment = (begun_before ? shared.begun_before : shared.ends_later)[warp];
    ++entry;
    if (segment == kNoSegment) continue;
    int count = 1;
    while (warp + count < warps && shared.begun_before[warp + count] == segment) ++count;
    entry = Most(entry, 2 * (warp + count) - 1);
    const bool begins_here = block.StartOf(segment) >= block.first;
    const bool complete = begins_here && block.EndOf(segment) <= block.end;
    Result& result = workspace.partials[2 * blockIdx.x + (begins_here ? 1 : 0)];
    for (int quad = static_cast<int>(threadIdx.x); quad < Result::kQuads;
         quad += static_cast<int>(blockDim.x)) {
      const MergedQuad merged = Merge<kHead, kTiles>(quad, count, [&](int i) -> const Result& {
        const bool early = (i > 0 || begun_before) && shared.early[warp + i];
        return early ? block.EarlyOf(warp + i) : block.LastOf(warp + i);
      });
      if (complete)
        WriteOut<kHead, kTiles>(merged, quad, heads, block.OutOf(segment));
      else
        Store<kHead, kTiles>(merged, quad, result);
    }
    if (!complete) ArriveAndFinish(block, segment);
  }
}

template <int kHead, int kTiles>
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
  ptx::GridDependencyWait();
  ptx::GridDependencyLaunch();
  UnitTables tables;
  tables.starts = reinterpret_cast<int32_t*>(&shared + 1);
  tables.lengths = tables.starts + args.call.shape.sequences + 1;
  const int32_t units = CountUnits(args.call, tables);
  const int blocks = BlocksFor(units, static_cast<int>(gridDim.x), warps);
  const auto index = static_cast<int>(blockIdx.x);
  if (index >= blocks) return;
  const Block<kHead, kTiles> block{.args = args,
                                   .shared = shared,
                                   .tables = tables,
                                   .memory = memory,
                                   .units = units,
                                   .blocks = blocks,
                                   .first = ShareStart(units, blocks, index),
                                   .end = ShareStart(units, blocks, index + 1)};
  const int32_t count = block.end - block.first;
  const int workers = Least(warps, count);
  if (warp < workers)
    Stream(block, {block.first + ShareStart(count, workers, warp),
                   block.first + ShareStart(count, workers, warp + 1)});
  __syncthreads();
  MergeWarps(block);
}

/// For `block.warps` warps on each of `blocks` multiprocessors.
template <int kHead, int kTiles>
void LaunchAttend(const KernelArgs& args, int blocks, cudaStream_t stream) {
  Launch(AttendKernel<kHead, kTiles>,
         {.blocks = blocks,
          .threads = 32 * args.block.warps,
          .shared_bytes = static_cast<size_t>(args.block.bytes)},
         stream, args);
}

}  // namespace moecast::kernels
