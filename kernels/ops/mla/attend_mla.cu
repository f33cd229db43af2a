// Decode attention over latents: each block streams its share of the cache through a ring, one
// warpgroup brings it and two multiply. Many query heads are rows of the products, few are columns.
#include <string>

#include "kernels/ops/expert_prefill/launch_plan.h"
#include "kernels/ops/expert_prefill/tensor_map.h"
#include "kernels/ops/launch.h"
#include "kernels/ops/mla/attend_mla.h"
#include "kernels/ops/mla/copier.cuh"
#include "kernels/ops/mla/few_heads.cuh"
#include "kernels/ops/mla/many_heads.cuh"

namespace moecast::kernels {
namespace mla {
namespace {

// Registers of a copying and of a multiplying thread: together no more than 384 threads have at
// launch, 168 each.
template <class Consumer, KvElement kElement>
constexpr int kCopyRegisters = kElement == KvElement::kBf16 ? 40 : Consumer::kCodeRegisters;
template <class Consumer, KvElement kElement>
constexpr int kConsumerRegisters = (3 * 168 - kCopyRegisters<Consumer, kElement>) / 16 * 8;

// Consumer: FewHeads or ManyHeads.
template <class Consumer, KvElement kElement>
__global__ void __launch_bounds__(kThreads, 1)
    AttendMlaKernel(const __grid_constant__ Maps maps, const __grid_constant__ Task task) {
  extern __shared__ __align__(1024) uint8_t shared_bytes[];
  auto& shared = *reinterpret_cast<typename Consumer::Shared*>(shared_bytes);
  constexpr bool kCodes = kElement != KvElement::kBf16;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  if (threadIdx.x == 32) shared.Init(kCodes);
  ptx::GridDependencyWait();
  ptx::GridDependencyLaunch();
  if (warp == 0) {
    const int32_t units = CountUnits(task.args);
    if (threadIdx.x == 0) {
      shared.split = SplitFor(units, static_cast<int>(gridDim.x) / task.head_groups,
                              static_cast<int>(blockIdx.x) / task.head_groups);
      shared.owed = {};
    }
  }
  __syncthreads();
  const Split& split = shared.split;
  if (split.first == split.end) return;
  if (warp < 4) {
    ptx::ReleaseRegisters<kCopyRegisters<Consumer, kElement>>();
    using Shared = typename Consumer::Shared;
    if constexpr (kCodes) {
      CodeCopier<Shared, kElement, Consumer::kHalvesHeld>{{shared, maps, task},
                                                          UnitWalk(task.args, split)}
          .Run();
    } else if (warp == 0) {
      BoxCopier<Shared>{{shared, maps, task}}.Run(UnitWalk(task.args, split));
    }
  } else {
    ptx::ClaimRegisters<kConsumerRegisters<Consumer, kElement>>();
    Consumer{shared, {task, split, shared.owed}, warp / 4 - 1}.Run();
  }
}

template <int kRows>
int BlocksOf(const AttendMlaShape& shape) {
  const int groups = shape.query_heads / kRows;
  return PersistentBlocks() / groups * groups;
}

// Latents and rotary parts of bf16 pages as two matrices over the same pool.
Maps MapsFor(const AttendMlaArgs& args, int rows) {
  const int64_t bytes = args.cache.page_count * LatentLayoutOf(args.shape.element).page_bytes;
  const AttendMlaShape& shape = args.shape;
  Maps maps{};
  maps.query = EncodeTensorMap({.data = args.query,
                                .element = MapElement::kBf16,
                                .rows = static_cast<int64_t>(shape.sequences) * shape.query_heads,
                                .columns = kLatentChannels + kRotaryChannels,
                                .box_rows = rows,
                                .box_columns = kBlockColumns});
  maps.rotary = EncodeTensorMap({.data = args.cache.pages,
                                 .element = MapElement::kBf16,
                                 .rows = bytes / (kRotaryChannels * 2),
                                 .columns = kRotaryChannels,
                                 .box_rows = kPageTokens,
                                 .box_columns = kBlockColumns});
  if (shape.element != KvElement::kBf16) return maps;
  maps.latents = EncodeTensorMap({.data = args.cache.pages,
                                  .element = MapElement::kBf16,
                                  .rows = bytes / (kLatentChannels * 2),
                                  .columns = kLatentChannels,
                                  .box_rows = kPageTokens,
                                  .box_columns = kBlockColumns});
  return maps;
}

template <template <Half> class Family, KvElement kElement>
void LaunchAttend(const AttendMlaArgs& args, cudaStream_t stream) {
  constexpr float kLog2E = 1.44269504F;
  using Consumer = Family<kElement == KvElement::kBf16 ? Half::kBf16 : Half::kF16>;
  constexpr int kRows = Consumer::kRows;
  const Task task{
      .args = args, .head_groups = args.shape.query_heads / kRows, .scale = args.scale * kLog2E};
  Launch(AttendMlaKernel<Consumer, kElement>,
         {BlocksOf<kRows>(args.shape), kThreads, sizeof(typename Consumer::Shared)}, stream,
         MapsFor(args, kRows), task);
}

template <int kHeads>
struct Few {
  template <Half kHalf>
  using Family = FewHeads<kHeads, kHalf>;
};

template <template <Half> class Family>
struct Form {
  static size_t WorkspaceBytes(const AttendMlaShape& shape) {
    constexpr int kRows = Family<Half::kBf16>::kRows;
    return static_cast<size_t>(BlocksOf<kRows>(shape)) *
           (2 * sizeof(PartResult<kRows>) + sizeof(Meeting));
  }

  static void Attend(const AttendMlaArgs& args, cudaStream_t stream) {
    switch (args.shape.element) {
      case KvElement::kBf16:
        return LaunchAttend<Family, KvElement::kBf16>(args, stream);
      case KvElement::kE4m3:
        return LaunchAttend<Family, KvElement::kE4m3>(args, stream);
      case KvElement::kInt4:
        return LaunchAttend<Family, KvElement::kInt4>(args, stream);
      case KvElement::kE5m2:
      case KvElement::kInt8:
      case KvElement::kInt2:
      case KvElement::kInt1:
        break;
    }
    throw CudaError("AttendMla: latents of " + std::string(Name(args.shape.element)) +
                    "; known are bf16, fp8_e4m3 and int4");
  }
};

// Calls use with the form that serves the shape's number of heads.
template <class Use>
auto WithForm(const AttendMlaShape& shape, Use use) {
  switch (shape.query_heads) {
    case 8:
      return use(Form<Few<8>::Family>{});
    case 16:
      return use(Form<Few<16>::Family>{});
    case 32:
      return use(Form<Few<32>::Family>{});
    default:
      break;
  }
  if (shape.query_heads > 0 && shape.query_heads % kManyHeads == 0) return use(Form<ManyHeads>{});
  throw CudaError("AttendMla: " + std::to_string(shape.query_heads) +
                  " query heads; known are 8, 16, 32 and multiples of 64");
}

}  // namespace
}  // namespace mla

size_t AttendMlaWorkspaceBytes(const AttendMlaShape& shape) {
  return mla::WithForm(shape, [&](auto form) { return form.WorkspaceBytes(shape); });
}

void AttendMla(const AttendMlaArgs& args, cudaStream_t stream) {
  mla::WithForm(args.shape, [&](auto form) {
    if (args.shape.sequences > 0) form.Attend(args, stream);
  });
}

}  // namespace moecast::kernels
