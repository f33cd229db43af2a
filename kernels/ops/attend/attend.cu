// Chooses the kernel of decode attention and how a block uses its shared memory.
#include <cmath>

#include "kernels/harness/cuda_check.h"
#include "kernels/ops/attend/attend.h"
#include "kernels/ops/attend/codes.cuh"
#include "kernels/ops/attend/instances.h"
#include "kernels/ops/attend/split_plan.h"

namespace moecast::kernels {
namespace {

int Attribute(cudaDeviceAttr attribute) {
  int device = 0;
  int value = 0;
  CUDA_CHECK(cudaGetDevice(&device));
  CUDA_CHECK(cudaDeviceGetAttribute(&value, attribute, device));
  return value;
}

constexpr int32_t kLargeSlot = 12 * 1024;

constexpr int32_t RoundUp(int32_t bytes) { return (bytes + 127) / 128 * 128; }

// Eight query heads of a KV head fill a product's columns.
int HeadTiles(const AttendShape& shape) { return QueriesPerHead(shape) <= 8 ? 1 : 2; }

// A page whose codes all stand in it, as it is staged.
PageLayout StagedLayout(KvScheme scheme, int head_dim) {
  scheme.keys.shares_codes = scheme.values.shares_codes = false;
  return LayoutOf(scheme, head_dim);
}

// As many warps as leave each two slots, or one for large pages: copies of other warps' pages hide
// those of its own then.
BlockLayout LayOut(const AttendShape& shape, const KvScheme& scheme, int32_t fixed_bytes) {
  const int32_t slab = 2 * kSlabTokens * shape.kv.head_dim * 2;
  const int32_t page =
      LogPageStep(scheme) == kLogSlab ? 0 : StagedLayout(scheme, shape.kv.head_dim).page_bytes;
  BlockLayout block;
  block.slot_bytes = RoundUp(Most(page, HasWindow(scheme) || page == 0 ? slab : 0));
  block.rings = RoundUp(fixed_bytes);
  const int32_t room = Attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin) - block.rings;
  for (block.warps = MostWarps(HeadTiles(shape)); block.warps > 1; --block.warps) {
    block.slots = Least(room / block.warps / block.slot_bytes, kMostSlots);
    if (block.slots >= (block.slot_bytes > kLargeSlot ? 1 : 2)) break;
  }
  block.bytes = block.rings + block.warps * block.slots * block.slot_bytes;
  return block;
}

CodeUnits UnitsOf(const AttendArgs& args) {
  CodeUnits units;
  for (int tile = 0; tile < 4; ++tile) {
    const int key = TileShift(KvSide::kKeys, BitsOf(args.scheme.keys.element), tile);
    const KvElement values = args.scheme.values.element;
    const int value =
        IsInteger(values) ? kSubnormalBits - TileShift(KvSide::kValues, BitsOf(values), tile) : 0;
    units.query[tile] = std::ldexp(args.softmax_scale * 1.44269504F, -key);  // log2 e
    units.key_shift[tile] = std::ldexp(1.0F, key);
    units.sum[tile] = std::ldexp(1.0F, value);
    units.code[tile] = std::ldexp(1.0F, -value);
  }
  return units;
}

}  // namespace

size_t AttendWorkspaceBytes(const AttendShape& shape) {
  const int blocks = Attribute(cudaDevAttrMultiProcessorCount);
  const int tiles = HeadTiles(shape);
  return static_cast<size_t>(PostedBytes(blocks)) +
         static_cast<size_t>(blocks * MostWarps(tiles)) *
             static_cast<size_t>(PartialBytes(tiles, shape.kv.head_dim));
}

void Attend(const AttendArgs& args, cudaStream_t stream) {
  const AttendShape& shape = args.shape;
  if (shape.sequences == 0) return;
  const auto tables = static_cast<int32_t>(sizeof(int32_t)) * (3 * shape.sequences + 1);
  const int card = Attribute(cudaDevAttrMultiProcessorCount);
  const int blocks = args.most_blocks == 0 ? card : Least(args.most_blocks, card);
  const KernelArgs launch{
      .call = args,
      .layout = LayoutOf(args.scheme, shape.kv.head_dim),
      .staged = StagedLayout(args.scheme, shape.kv.head_dim),
      .block = LayOut(shape, args.scheme, static_cast<int32_t>(sizeof(BlockShared)) + tables),
      .units = UnitsOf(args),
      .blocks = BlocksOfSegments(shape.sequences * shape.kv.kv_heads, blocks),
      .card_blocks = card};
  if (shape.kv.head_dim == 64)
    (HeadTiles(shape) == 1 ? LaunchAttend64x8 : LaunchAttend64x16)(launch, blocks, stream);
  else
    (HeadTiles(shape) == 1 ? LaunchAttend128x8 : LaunchAttend128x16)(launch, blocks, stream);
}

}  // namespace moecast::kernels
