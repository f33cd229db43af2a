// The past of a chunk, from pages of any scheme to bf16 tiles. Blocks of four warps take keys or
// values of one page and head in turn, which leave as one copy for each 64 columns.
#include "kernels/ops/attend_prefill/past.cuh"
#include "kernels/ops/attend_prefill/past_tiles.cuh"
#include "kernels/ops/expert_prefill/launch_plan.h"
#include "kernels/ops/launch.h"

namespace moecast::kernels::attend {
namespace {

constexpr int kExpandThreads = 128;
constexpr int kBlocksTogether = 6;  // on a multiprocessor
constexpr int kTilePages = kKeyRows / kPageTokens;

struct ExpandTask {
  AttendPast past;
  PageLayout layout;         // of past.cache.pages
  PageLayout window_layout;  // of past.cache.window
  int32_t sequences = 0;
  int32_t kv_heads = 0;
  int32_t window = 0;  // of the attention, 0: none
};

// A tile, and the sequence it is of.
struct PastTile {
  int sequence = -1;  // -1: there is no further one
  int tokens = 0;     // of the sequence
  int number = 0;     // in it
};

// One warp's walk through all tiles in ascending order.
class TileWalk {
 public:
  __device__ explicit TileWalk(const ExpandTask& task) : task_(task) {}

  // REQUIRES: the whole warp; indices ascend from call to call.
  __device__ PastTile Find(int index) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    for (; first_ < task_.sequences; first_ += 32) {
      const bool exists = first_ + lane < task_.sequences;
      const int tokens = exists ? task_.past.tokens[first_ + lane] : 0;
      int upto = TilesOfPast(tokens);
#pragma unroll
      for (int step = 1; step < 32; step *= 2) {
        const int left = __shfl_up_sync(kWarp, upto, step);
        if (lane >= step) upto += left;
      }
      const int all = __shfl_sync(kWarp, upto, 31);
      if (index < before_ + all) {
        const int owner = __ffs(static_cast<int>(__ballot_sync(kWarp, before_ + upto > index))) - 1;
        const int length = __shfl_sync(kWarp, tokens, owner);
        const int end = before_ + __shfl_sync(kWarp, upto, owner);
        return {first_ + owner, length, index - (end - TilesOfPast(length))};
      }
      before_ += all;
    }
    return {};
  }

 private:
  static constexpr uint32_t kWarp = 0xffffffffU;

  const ExpandTask& task_;
  int first_ = 0;   // sequence of lane 0
  int before_ = 0;  // tiles of sequences before it
};

// Keys or values of a page's head, in blocks as far apart as those of a tile.
template <KvSide kSide, int kDim>
__device__ void ExpandPage(const PastSource& source, const PastTile& tile, int page,
                           uint8_t* staged, uint8_t* to) {
  StagePage<kSide, kDim>(source, tile.sequence, tile.tokens, tile.number * kTilePages + page,
                         staged);
  ptx::SharedWritesFence();
  __syncthreads();
  constexpr int kPageBytes = kBlockBytes / kTilePages;
  if (threadIdx.x != 0) return;
  to += (kSide == KvSide::kKeys ? 0 : PastTileBytes(kDim, 0)) + page * kPageBytes;
#pragma unroll
  for (int block = 0; block < kDim / kBlockColumns; ++block)
    ptx::BulkStore(to + block * kBlockBytes, staged + block * kPageBytes, kPageBytes);
}

template <int kDim>
__global__ void __launch_bounds__(kExpandThreads, kBlocksTogether)
    ExpandPastKernel(const __grid_constant__ ExpandTask task) {
  extern __shared__ __align__(1024) uint8_t staged[];
  ptx::GridDependencyWait();
  ptx::GridDependencyLaunch();
  TileWalk walk(task);
  for (int item = static_cast<int>(blockIdx.x);; item += static_cast<int>(gridDim.x)) {
    const int place = item / (2 * kTilePages);  // tile and head
    const PastTile tile = walk.Find(place / task.kv_heads);
    if (tile.sequence < 0) break;
    const int end_of_tile = (tile.number + 1) * kKeyRows;
    if (task.window > 0 && end_of_tile <= tile.tokens - task.window + 1) continue;
    if (threadIdx.x == 0) ptx::WaitStoresRead();
    __syncthreads();
    const PastSource source{task.past, task.layout, task.window_layout, task.kv_heads,
                            place % task.kv_heads};
    uint8_t* const to = task.past.expanded + place * PastTileBytes(kDim, kDim);
    const int page = item / 2 % kTilePages;
    if (item % 2 == 0) {
      ExpandPage<KvSide::kKeys, kDim>(source, tile, page, staged, to);
    } else {
      ExpandPage<KvSide::kValues, kDim>(source, tile, page, staged, to);
    }
  }
  if (threadIdx.x == 0) ptx::WaitStores();
}

template <int kDim>
void LaunchExpand(const ExpandTask& task, cudaStream_t stream) {
  Launch(
      ExpandPastKernel<kDim>,
      {PersistentBlocks() * kBlocksTogether, kExpandThreads, PastTileBytes(kDim, 0) / kTilePages},
      stream, task);
}

}  // namespace

void ExpandPast(const AttendPrefillShape& shape, const AttendPast& past, cudaStream_t stream) {
  const ExpandTask task{.past = past,
                        .layout = LayoutOf(past.scheme, shape.key_dim),
                        .window_layout = WindowLayout(shape.key_dim),
                        .sequences = shape.sequences,
                        .kv_heads = shape.kv_heads,
                        .window = shape.window};
  if (past.expanded == nullptr)
    throw CudaError("AttendPrefill: a past needs memory to be expanded in");
  if (shape.key_dim == 64) return LaunchExpand<64>(task, stream);
  LaunchExpand<128>(task, stream);
}

}  // namespace moecast::kernels::attend
