// Selection: a warp takes a token from its logits to experts and weights; the cluster then aligns
// the batch. See route.h for the pipeline, the included headers for its parts.
#include <cstddef>
#include <type_traits>

#include "kernels/ops/launch.h"
#include "kernels/ops/ptx.cuh"
#include "kernels/ops/route/align.cuh"
#include "kernels/ops/route/batch_set.cuh"
#include "kernels/ops/route/expert_groups.cuh"
#include "kernels/ops/route/rank_experts.cuh"
#include "kernels/ops/route/route.h"
#include "kernels/ops/route/select_shared.cuh"

namespace moecast::kernels {
namespace {

using namespace route;

// Keys by which experts are chosen and the scores that become weights. Without bias, groups or a
// sum over all experts, the order of the logits is enough: keys are logits and scores are only
// computed for the chosen.
template <int kPerLane, bool kScoreAll>
struct TokenScores {
  unsigned keys[kPerLane];
  float scores[kScoreAll ? kPerLane : 1];
};

template <int kPerLane, bool kScoreAll>
__device__ void ReadToken(const ExpertShape& shape, const ScoreRule& rule, const float* bias,
                          const float* partial, int token, float* row,
                          TokenScores<kPerLane, kScoreAll>& out) {
  float values[kPerLane];
  LoadLogits(shape, partial, token, values);
  const int first = Lane() * kPerLane;
  if constexpr (kScoreAll) {
    ScoreAll(shape, rule.score, values);
#pragma unroll
    for (int i = 0; i < kPerLane; ++i) {
      out.scores[i] = values[i];
      if (bias != nullptr && first + i < shape.experts) values[i] += bias[first + i];
    }
  }
#pragma unroll
  for (int i = 0; i < kPerLane; ++i)
    out.keys[i] = first + i < shape.experts ? OrderedBits(values[i]) : kNever;
  if constexpr (kScoreAll) {
    if (rule.grouping != GroupKind::kNone)
      ForbidByGroups(shape, rule, reinterpret_cast<unsigned*>(row), out.keys);
#pragma unroll
    for (int i = 0; i < kPerLane; ++i) row[first + i] = out.scores[i];
    __syncwarp();
  }
}

// Lane j's score, of rank j's expert; 0 where there is none. Softmax scores of kScoreAll sum to one
// over all experts, others have the best expert's as their unit.
template <bool kScoreAll>
__device__ float ScoreOf(ScoreKind kind, const float* row, int expert, unsigned key) {
  const float best = FromOrderedBits(__shfl_sync(kAll, key, 0));
  if (key == kNever) return 0;
  if constexpr (kScoreAll) return row[expert];
  const float value = FromOrderedBits(key);
  return kind == ScoreKind::kSoftmax ? __expf(value - best) : Sigmoid(value);
}

// Whether the rule keeps lane j's expert, given that it has one.
__device__ bool Kept(const SkipRule& rule, int top_k, float score) {
  if (rule.kind == SkipKind::kNone || rule.kind == SkipKind::kUniform)
    return rule.Keeps(Lane(), score, score, 0, 0, 0);
  const float best = __shfl_sync(kAll, score, 0);
  const float own = Lane() < top_k ? score : 0.0F;
  if (rule.kind == SkipKind::kRatio) return rule.Keeps(Lane(), score, best, 0, 0, 0);
  const float mass = WarpSum<16>(own);
  if (rule.kind == SkipKind::kAsetDerived) {
    const float share = own / mass;
    const float entropy = WarpSum<16>(share > 0 ? -share * __logf(share) : 0.0F);
    const float ratio = top_k > 1 ? entropy / __logf(static_cast<float>(top_k)) : 0.0F;
    return rule.Keeps(Lane(), score, best, 0, mass, ratio);
  }
  float before = own;
#pragma unroll
  for (int distance = 1; distance < kMaxTopK; distance *= 2) {
    const float below = __shfl_up_sync(kAll, before, static_cast<unsigned>(distance));
    if (Lane() >= distance) before += below;
  }
  return rule.Keeps(Lane(), score, best, before - own, mass, 0);
}

// Chooses for one token and writes its slots.
template <int kPerLane, bool kScoreAll>
__device__ void ChooseForToken(const ExpertShape& shape, const RoutingRule& rule, const float* bias,
                               const RouteBuffers& buffers, const SelectShared& shared, int first,
                               int local) {
  float* const row = shared.score_rows + threadIdx.x / 32 * shared.row;
  TokenScores<kPerLane, kScoreAll> token;
  ReadToken(shape, rule.score, bias, buffers.partial_logits, first + local, row, token);
  const bool by_mass = rule.score.renormalise == Renormalise::kMass;
  const bool in_set = rule.batch.kind != BatchKind::kNone;
  int expert = 0;
  unsigned key = 0;
  float norm = 1;
  if (by_mass && in_set) {
    unsigned all[kPerLane];
#pragma unroll
    for (int i = 0; i < kPerLane; ++i) all[i] = token.keys[i];
    TakeBest(all, rule.score.mass_k, shape.experts, expert, key);
    norm = WarpSum<16>(ScoreOf<kScoreAll>(rule.score.score, row, expert, key));
  }
  if (in_set) ForbidOutsideSet(shared, token.keys);
  const int ranks = by_mass && !in_set ? max(shape.top_k, rule.score.mass_k) : shape.top_k;
  TakeBest(token.keys, ranks, shape.experts, expert, key);
  const float score = ScoreOf<kScoreAll>(rule.score.score, row, expert, key);
  if (by_mass && !in_set) norm = WarpSum<16>(Lane() < rule.score.mass_k ? score : 0.0F);
  const bool kept = Kept(rule.skip, shape.top_k, score) && key != kNever && Lane() < shape.top_k;
  if (rule.score.renormalise == Renormalise::kKept) norm = WarpSum<16>(kept ? score : 0.0F);
  __syncwarp();  // before the next token overwrites the row
  if (Lane() >= shape.top_k) return;
  if (!kept) expert = shape.experts;
  const int slot = local * shape.top_k + Lane();
  shared.chosen[slot] = static_cast<uint16_t>(expert);
  if (kept) atomicOr(&shared.token_bits[expert * shared.words + local / 32], 1U << (local % 32));
  buffers.expert_of_slot[first * shape.top_k + slot] = expert;
  buffers.weight_of_slot[first * shape.top_k + slot] =
      kept ? score / norm * rule.score.scale : 0.0F;
}

// First pass of a batch rule over the block's tokens.
template <int kPerLane, bool kScoreAll>
__device__ void BuildSet(const ExpertShape& shape, const RoutingRule& rule, const float* bias,
                         const RouteBuffers& buffers, const SelectShared& shared, int first,
                         int tokens) {
  float* const row = shared.score_rows + threadIdx.x / 32 * shared.row;
  const int count = rule.batch.kind == BatchKind::kOea ? rule.batch.base_k : 1;
  for (int local = static_cast<int>(threadIdx.x) / 32; local < tokens; local += kSelectWarps) {
    TokenScores<kPerLane, kScoreAll> token;
    ReadToken(shape, rule.score, bias, buffers.partial_logits, first + local, row, token);
    int expert = 0;
    unsigned key = 0;
    TakeBest(token.keys, count, shape.experts, expert, key);
    AddToSet(shape, rule.batch, expert, count, token.scores, shared);
    __syncwarp();
  }
  AgreeOnSet(shape, rule.batch, shared);
}

template <int kPerLane, bool kScoreAll>
__global__ void __launch_bounds__(kSelectThreads)
    SelectKernel(ExpertShape shape, RoutingRule rule, const float* bias, RouteBuffers buffers) {
  extern __shared__ __align__(16) unsigned char memory[];
  const SelectShared shared = SelectShared::At(memory, shape, kScoreAll ? kPerLane * 32 : 0);
  ptx::GridDependencyLaunch();
  const int share = TokenShare(shape.tokens);
  const int first = BlockInCluster() * share;
  const int tokens = max(0, min(share, shape.tokens - first));
  for (int i = static_cast<int>(threadIdx.x); i < shape.experts * shared.words; i += kSelectThreads)
    shared.token_bits[i] = 0;
  if (threadIdx.x < kSetWords) shared.best_bits[threadIdx.x] = 0;
  if (static_cast<int>(threadIdx.x) < shape.experts) shared.utility[threadIdx.x] = 0;
  __syncthreads();
  ptx::GridDependencyWait();
  if (rule.batch.kind != BatchKind::kNone)
    BuildSet<kPerLane, kScoreAll>(shape, rule, bias, buffers, shared, first, tokens);
  for (int local = static_cast<int>(threadIdx.x) / 32; local < tokens; local += kSelectWarps)
    ChooseForToken<kPerLane, kScoreAll>(shape, rule, bias, buffers, shared, first, local);
  __syncthreads();
  Align(shape, buffers, shared, first, tokens);
  ClusterWait();
}

// Whether the order of the logits does not decide alone.
bool NeedsAllScores(const RoutingRule& rule, const float* bias) {
  return bias != nullptr || rule.score.grouping != GroupKind::kNone ||
         rule.batch.kind == BatchKind::kXShare ||
         (rule.score.score == ScoreKind::kSoftmax && rule.score.renormalise == Renormalise::kNone);
}

template <int kPerLane>
void LaunchSelect(const ExpertShape& shape, const RoutingRule& rule, const float* bias,
                  const RouteBuffers& buffers, cudaStream_t stream) {
  const int blocks = SelectBlocks(shape.tokens);
  const auto launch = [&](auto score_all) {
    const int row = score_all() ? kPerLane * 32 : 0;
    const size_t bytes = SelectShared::At(nullptr, shape, row).bytes;
    Launch(SelectKernel<kPerLane, score_all()>, {blocks, kSelectThreads, bytes, blocks}, stream,
           shape, rule, bias, buffers);
  };
  if (NeedsAllScores(rule, bias)) return launch(std::true_type{});
  launch(std::false_type{});
}

}  // namespace

size_t PartialLogits(const ExpertShape& shape) {
  return static_cast<size_t>(GateSplits(shape.hidden)) * static_cast<size_t>(shape.tokens) *
         static_cast<size_t>(LogitPitch(shape.experts));
}

void Route(const ExpertShape& shape, const RoutingRule& rule, const __nv_bfloat16* x,
           const __nv_bfloat16* gate, const float* bias, const RouteBuffers& buffers,
           cudaStream_t stream) {
  GateProduct(shape, x, gate, buffers.partial_logits, stream);
  if (shape.experts <= 64) return LaunchSelect<2>(shape, rule, bias, buffers, stream);
  if (shape.experts <= 128) return LaunchSelect<4>(shape, rule, bias, buffers, stream);
  if (shape.experts <= 256) return LaunchSelect<8>(shape, rule, bias, buffers, stream);
  LaunchSelect<kMaxExperts / 32>(shape, rule, bias, buffers, stream);
}

}  // namespace moecast::kernels
