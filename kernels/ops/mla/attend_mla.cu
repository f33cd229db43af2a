// Decode attention over latents: each block streams its share of the cache through a ring. Two
// warpgroups take turns at the scores, a step each, and share the result: each has 256 of its 512
// channels. While one computes scores and weights of the next step, both multiply the weights of
// this one with its latents.
#include <string>

#include "kernels/ops/expert_prefill/launch_plan.h"
#include "kernels/ops/expert_prefill/tensor_map.h"
#include "kernels/ops/launch.h"
#include "kernels/ops/mla/attend_mla.h"
#include "kernels/ops/mla/consumer.cuh"
#include "kernels/ops/mla/copier.cuh"

namespace moecast::kernels {
namespace mla {
namespace {

// Registers of a copying and of a multiplying thread: together no more than 384 threads have at
// launch, 168 each.
template <KvElement kElement>
constexpr int kCopyRegisters = kElement == KvElement::kBf16 ? 40 : 88;
template <KvElement kElement>
constexpr int kConsumerRegisters = kElement == KvElement::kBf16 ? 232 : 208;
template <KvElement kElement>
constexpr int kCopyWarps = kElement == KvElement::kBf16 ? 1 : 4;

template <int kRows, KvElement kElement>
__global__ void __launch_bounds__(kThreads, 1)
    AttendMlaKernel(const __grid_constant__ Maps maps, const __grid_constant__ Task task) {
  extern __shared__ __align__(1024) uint8_t shared_bytes[];
  auto& shared = *reinterpret_cast<Shared<kRows>*>(shared_bytes);
  const int warp = static_cast<int>(threadIdx.x) / 32;
  if (threadIdx.x == 32) shared.Init(kCopyWarps<kElement>);
  shared.Clear();
  ptx::GridDependencyWait();
  ptx::GridDependencyLaunch();
  if (warp == 0) {
    const int32_t units = CountUnits<Geometry<kRows>::kTokens>(task.args);
    if (threadIdx.x == 0) shared.units = units;
  }
  __syncthreads();
  const Split split = SplitFor(shared.units, static_cast<int>(gridDim.x) / task.head_groups,
                               static_cast<int>(blockIdx.x) / task.head_groups);
  if (split.first == split.end) return;
  if (warp < 4) {
    ptx::ReleaseRegisters<kCopyRegisters<kElement>>();
    if (warp < kCopyWarps<kElement>)
      Copier<kRows, kElement>{
          shared, maps, task, StepWalk<Geometry<kRows>::kTokens>(task.args, split), {}}
          .Run();
  } else {
    ptx::ClaimRegisters<kConsumerRegisters<kElement>>();
    const int row = warp % 4 * 16 + static_cast<int>(threadIdx.x) % 32 / 4;
    Consumer<kRows>{shared, maps, task, split, warp / 4 - 1, row, warp % 4 * 16 < kRows}.Run();
  }
}

template <int kRows>
int BlocksOf(const AttendMlaShape& shape) {
  const int groups = shape.query_heads / kRows;
  return PersistentBlocks() / groups * groups;
}

template <int kRows>
size_t WorkspaceBytes(const AttendMlaShape& shape) {
  return static_cast<size_t>(BlocksOf<kRows>(shape)) * (2 * sizeof(Part<kRows>) + sizeof(Meeting));
}

// Latents and rotary parts of bf16 pages as two matrices over the same pool.
Maps MapsFor(const AttendMlaArgs& args, int rows, int tokens) {
  constexpr int64_t kPageBytes = LatentLayoutOf(KvElement::kBf16).page_bytes;
  const int64_t bytes = args.cache.page_count * kPageBytes;
  const AttendMlaShape& shape = args.shape;
  Maps maps{};
  maps.query = EncodeTensorMap({.data = args.query,
                                .element = MapElement::kBf16,
                                .rows = static_cast<int64_t>(shape.sequences) * shape.query_heads,
                                .columns = kLatentChannels + kRotaryChannels,
                                .box_rows = rows,
                                .box_columns = kBlockColumns});
  if (shape.element != KvElement::kBf16) return maps;
  maps.latents = EncodeTensorMap({.data = args.cache.pages,
                                  .element = MapElement::kBf16,
                                  .rows = bytes / (kLatentChannels * 2),
                                  .columns = kLatentChannels,
                                  .box_rows = tokens,
                                  .box_columns = kBlockColumns});
  maps.rotary = EncodeTensorMap({.data = args.cache.pages,
                                 .element = MapElement::kBf16,
                                 .rows = bytes / (kRotaryChannels * 2),
                                 .columns = kRotaryChannels,
                                 .box_rows = tokens,
                                 .box_columns = kBlockColumns});
  return maps;
}

template <int kRows, KvElement kElement>
void LaunchAttend(const AttendMlaArgs& args, cudaStream_t stream) {
  constexpr float kLog2E = 1.44269504F;
  const Task task{
      .args = args, .head_groups = args.shape.query_heads / kRows, .scale = args.scale * kLog2E};
  Launch(AttendMlaKernel<kRows, kElement>,
         {BlocksOf<kRows>(args.shape), kThreads, sizeof(Shared<kRows>)}, stream,
         MapsFor(args, kRows, Geometry<kRows>::kTokens), task);
}

template <int kRows>
void Dispatch(const AttendMlaArgs& args, cudaStream_t stream) {
  switch (args.shape.element) {
    case KvElement::kBf16:
      return LaunchAttend<kRows, KvElement::kBf16>(args, stream);
    case KvElement::kE4m3:
      return LaunchAttend<kRows, KvElement::kE4m3>(args, stream);
    case KvElement::kInt4:
      return LaunchAttend<kRows, KvElement::kInt4>(args, stream);
    case KvElement::kE5m2:
    case KvElement::kInt8:
    case KvElement::kInt2:
    case KvElement::kInt1:
      break;
  }
  throw CudaError("AttendMla: latents of " + std::string(Name(args.shape.element)) +
                  "; known are bf16, fp8_e4m3 and int4");
}

constexpr int kFewHeads = 16;

void RequireHeads(const AttendMlaShape& shape) {
  if (shape.query_heads == kFewHeads ||
      (shape.query_heads > 0 && shape.query_heads % kProductRows == 0))
    return;
  throw CudaError("AttendMla: " + std::to_string(shape.query_heads) +
                  " query heads; known are 16 and multiples of 64");
}

}  // namespace
}  // namespace mla

size_t AttendMlaWorkspaceBytes(const AttendMlaShape& shape) {
  mla::RequireHeads(shape);
  return shape.query_heads == mla::kFewHeads ? mla::WorkspaceBytes<mla::kFewHeads>(shape)
                                             : mla::WorkspaceBytes<mla::kProductRows>(shape);
}

void AttendMla(const AttendMlaArgs& args, cudaStream_t stream) {
  mla::RequireHeads(args.shape);
  if (args.shape.sequences == 0) return;
  if (args.shape.query_heads == mla::kFewHeads) return mla::Dispatch<mla::kFewHeads>(args, stream);
  mla::Dispatch<mla::kProductRows>(args, stream);
}

}  // namespace moecast::kernels
