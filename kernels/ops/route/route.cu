// Selection: a warp takes a token from its logits to experts and weights; the cluster then aligns
// the batch, or, of many tokens, a launch of its own. See route.h for the pipeline, the included
// headers for its parts.
#include <cstddef>
#include <type_traits>

#include "kernels/ops/launch.h"
#include "kernels/ops/ptx.cuh"
#include "kernels/ops/route/align.cuh"
#include "kernels/ops/route/batch_set.cuh"
#include "kernels/ops/route/choose.cuh"
#include "kernels/ops/route/route.h"
#include "kernels/ops/route/select_shared.cuh"
#include "kernels/ops/route/spread.cuh"

namespace moecast::kernels {
namespace {

using namespace route;

// First pass of a batch rule over the block's tokens.
template <int kPerLane, bool kScoreAll, int kBlocks>
__device__ void BuildSet(const Selection<kPerLane>& s) {
  const BatchRule& rule = s.rule.batch;
  const int count = rule.kind == BatchKind::kOea ? rule.base_k : 1;
  for (int local = static_cast<int>(threadIdx.x) / 32; local < s.tokens; local += kSelectWarps) {
    TokenScores<kPerLane, kScoreAll> token;
    ReadToken(s.shape, s.rule.score, s.bias, s.buffers.partial_logits, s.first + local, s.row(),
              token);
    const int expert = TakeBest(token.keys, count, s.shape.experts);
    AddToSet(s.shape, rule, expert, count, token.scores, s.shared);
    __syncwarp();
  }
  AgreeOnSet<kBlocks>(s.shape, rule, s.shared);
}

template <int kPerLane, bool kScoreAll, int kBlocks>
__global__ void __launch_bounds__(kSelectThreads)
    SelectKernel(ExpertShape shape, RoutingRule rule, const float* bias, RouteBuffers buffers) {
  extern __shared__ __align__(16) unsigned char memory[];
  const int share = TokenShare(shape.tokens);
  const SelectShared shared = SelectShared::At(memory, shape, share, kScoreAll ? kPerLane * 32 : 0);
  ptx::GridDependencyLaunch();
  const int first = kBlocks > 1 ? BlockInCluster() * share : 0;
  Selection<kPerLane> s{
      shape, rule, buffers, shared, first, max(0, min(share, shape.tokens - first)), {}};
  LoadBias<kScoreAll>(bias, s);
  ClearTokenBits(shape, shared);
  if (threadIdx.x < kSetWords) shared.best_bits[threadIdx.x] = 0;
  if (static_cast<int>(threadIdx.x) < shape.experts) shared.utility[threadIdx.x] = 0;
  __syncthreads();
  ptx::GridDependencyWait();
  if (rule.batch.kind != BatchKind::kNone) BuildSet<kPerLane, kScoreAll, kBlocks>(s);
  for (int local = static_cast<int>(threadIdx.x) / 32; local < s.tokens; local += kSelectWarps)
    ChooseForToken<kPerLane, kScoreAll>(s, local);
  __syncthreads();
  Align<kBlocks>(shape, buffers, shared, first, s.tokens);
}

// Many tokens, first launch: a block chooses for its own and leaves its counts.
template <int kPerLane, bool kScoreAll>
__global__ void __launch_bounds__(kSelectThreads)
    ChooseKernel(ExpertShape shape, RoutingRule rule, const float* bias, RouteBuffers buffers,
                 RowCount* counts) {
  extern __shared__ __align__(16) unsigned char memory[];
  const SelectShared shared =
      SelectShared::At(memory, shape, TokensOfBlock(shape.tokens), kScoreAll ? kPerLane * 32 : 0);
  ptx::GridDependencyLaunch();
  const BlockTokens here = TokensHere(shape.tokens);
  Selection<kPerLane> s{shape, rule, buffers, shared, here.first, here.count, {}};
  LoadBias<kScoreAll>(bias, s);
  ClearTokenBits(shape, shared);
  __syncthreads();
  ptx::GridDependencyWait();
  for (int local = static_cast<int>(threadIdx.x) / 32; local < s.tokens; local += kSelectWarps)
    ChooseForToken<kPerLane, kScoreAll>(s, local);
  __syncthreads();
  const int pitch = LogitPitch(shape.experts);
  const int expert = static_cast<int>(threadIdx.x);
  const unsigned rows = RowsInBlock(shape, shared);
  if (expert < pitch)
    counts[static_cast<size_t>(blockIdx.x) * pitch + expert] = static_cast<RowCount>(rows);
  StoreChosen(shape, buffers, shared, here.first, here.count);
}

// Second launch: the same blocks give the slots their rows.
__global__ void __launch_bounds__(kSelectThreads)
    PlaceKernel(ExpertShape shape, RouteBuffers buffers, const RowCount* counts) {
  extern __shared__ __align__(16) unsigned char memory[];
  const SelectShared shared = SelectShared::At(memory, shape, TokensOfBlock(shape.tokens), 0);
  ptx::GridDependencyLaunch();
  const int thread = static_cast<int>(threadIdx.x);
  const BlockTokens here = TokensHere(shape.tokens);
  const int first_slot = here.first * shape.top_k;
  ClearTokenBits(shape, shared);
  if (thread < shape.experts) shared.rows[thread] = shared.first_row[thread] = 0;
  __syncthreads();
  ptx::GridDependencyWait();
  for (int i = thread; i < here.count * shape.top_k; i += kSelectThreads) {
    const int expert = __ldcg(buffers.expert_of_slot + first_slot + i);
    shared.chosen[i] = static_cast<uint16_t>(expert);
    if (expert < shape.experts)
      atomicOr(&shared.token_bits[expert * shared.words + i / shape.top_k / 32],
               1U << (i / shape.top_k % 32));
  }
  const ExpertRows rows = RowsOfBlocks(shape, shared, counts);
  PlaceExperts(shape, buffers, shared, rows, blockIdx.x == 0);
  PlaceSlots(shape, buffers, shared, here.first, here.count);
}

// Sums of all splits, of tokens and of experts.
size_t Logits(const ExpertShape& shape) {
  return static_cast<size_t>(GateSplits(shape.hidden)) * static_cast<size_t>(shape.tokens) *
         static_cast<size_t>(LogitPitch(shape.experts));
}

// Whether the order of the logits does not decide alone.
bool NeedsAllScores(const RoutingRule& rule, const float* bias) {
  return bias != nullptr || rule.score.grouping != GroupKind::kNone ||
         rule.batch.kind == BatchKind::kXShare;
}

template <int kPerLane, bool kScoreAll>
void LaunchSelect(const ExpertShape& shape, const RoutingRule& rule, const float* bias,
                  const RouteBuffers& buffers, cudaStream_t stream) {
  const int row = kScoreAll ? kPerLane * 32 : 0;
  if (Spreads(shape, rule.batch)) {
    auto* const counts = reinterpret_cast<RowCount*>(buffers.partial_logits + Logits(shape));
    const int share = TokensOfBlock(shape.tokens);
    const auto launch = [&](int row_elements) {
      return LaunchShape{(shape.tokens + share - 1) / share, kSelectThreads,
                         SelectShared::At(nullptr, shape, share, row_elements).bytes};
    };
    Launch(ChooseKernel<kPerLane, kScoreAll>, launch(row), stream, shape, rule, bias, buffers,
           counts);
    Launch(PlaceKernel, launch(0), stream, shape, buffers, counts);
    return;
  }
  const int blocks = SelectBlocks(shape.tokens);
  const size_t bytes = SelectShared::At(nullptr, shape, TokenShare(shape.tokens), row).bytes;
  const LaunchShape launch{blocks, kSelectThreads, bytes, blocks};
  const auto kernel = blocks == 1 ? SelectKernel<kPerLane, kScoreAll, 1>
                                  : SelectKernel<kPerLane, kScoreAll, kSelectCluster>;
  Launch(kernel, launch, stream, shape, rule, bias, buffers);
}

}  // namespace

size_t PartialLogits(const ExpertShape& shape) {
  return Logits(shape) + SpreadCounts(shape) * sizeof(RowCount) / sizeof(float);
}

void Route(const ExpertShape& shape, const RoutingRule& rule, const __nv_bfloat16* x,
           const __nv_bfloat16* gate, const float* bias, const RouteBuffers& buffers,
           cudaStream_t stream) {
  GateProduct(shape, x, gate, buffers.partial_logits, stream);
  const auto select = [&](auto per_lane) {
    if (NeedsAllScores(rule, bias))
      LaunchSelect<per_lane(), true>(shape, rule, bias, buffers, stream);
    else
      LaunchSelect<per_lane(), false>(shape, rule, bias, buffers, stream);
  };
  switch (PerLane(shape.experts)) {
    case 2:
      return select(std::integral_constant<int, 2>{});
    case 4:
      return select(std::integral_constant<int, 4>{});
    case 8:
      return select(std::integral_constant<int, 8>{});
    default:
      return select(std::integral_constant<int, kMaxExperts / 32>{});
  }
}

}  // namespace moecast::kernels
