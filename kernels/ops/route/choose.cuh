// What a warp does with one token: from its logits to the experts and weights of its slots.
#pragma once

#include <cstdint>

#include "kernels/ops/route/batch_set.cuh"
#include "kernels/ops/route/expert_groups.cuh"
#include "kernels/ops/route/rank_experts.cuh"
#include "kernels/ops/route/route.h"
#include "kernels/ops/route/select_shared.cuh"

namespace moecast::kernels::route {

/// Keys by which experts are chosen and the scores that become weights. Without bias, groups or a
/// sum over all experts, the order of the logits is enough: keys are logits and scores are only
/// computed for the chosen.
template <int kPerLane, bool kScoreAll>
struct TokenScores {
  unsigned keys[kPerLane];
  float scores[kScoreAll ? kPerLane : 1];
};

template <int kPerLane, bool kScoreAll>
__device__ void ReadToken(const ExpertShape& shape, const ScoreRule& rule,
                          const float (&bias)[kPerLane], const float* partial, int token,
                          float* row, TokenScores<kPerLane, kScoreAll>& out) {
  float values[kPerLane];
  LoadLogits(shape, partial, token, values);
  const int first = Lane() * kPerLane;
  if constexpr (kScoreAll) {
    ScoreAll(shape, rule.score, values);
#pragma unroll
    for (int i = 0; i < kPerLane; ++i) {
      out.scores[i] = values[i];
      values[i] += bias[i];
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

/// Sum of a softmax over all experts with the best expert's score as unit.
template <int kPerLane>
__device__ float SoftmaxMass(const unsigned (&keys)[kPerLane]) {
  const float best = FromOrderedBits(__reduce_max_sync(kAll, LaneMax(keys)));
  float sum = 0;
#pragma unroll
  for (int i = 0; i < kPerLane; ++i)
    sum += keys[i] == kNever ? 0.0F : __expf(FromOrderedBits(keys[i]) - best);
  return WarpSum(sum);
}

/// Lane j's score, of rank j's expert; 0 where there is none. Softmax scores of kScoreAll sum to
/// one over all experts, others have the best expert's as their unit.
template <int kPerLane, bool kScoreAll>
__device__ float ScoreOf(const ExpertShape& shape, ScoreKind kind,
                         const TokenScores<kPerLane, kScoreAll>& token, const float* row,
                         int expert) {
  const bool none = expert == shape.experts;
  if constexpr (kScoreAll) return none ? 0.0F : row[expert];
  const float value = FromOrderedBits(KeyAt(token.keys, none ? 0 : expert));
  const float best = __shfl_sync(kAll, value, 0);
  if (none) return 0;
  return kind == ScoreKind::kSoftmax ? __expf(value - best) : Sigmoid(value);
}

/// Whether the rule keeps lane j's expert, given that it has one.
__device__ inline bool Kept(const SkipRule& rule, int top_k, float score) {
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

/// One launch, as a warp sees it.
template <int kPerLane>
struct Selection {
  const ExpertShape& shape;
  const RoutingRule& rule;
  const RouteBuffers& buffers;
  const SelectShared& shared;
  int first;             // token of the block's share
  int tokens;            // of it
  float bias[kPerLane];  // of this lane's experts

  __device__ float* row() const { return shared.score_rows + threadIdx.x / 32 * shared.row; }
};

template <bool kScoreAll, int kPerLane>
__device__ void LoadBias(const float* bias, Selection<kPerLane>& s) {
#pragma unroll
  for (int i = 0; i < kPerLane; ++i) {
    const int expert = Lane() * kPerLane + i;
    s.bias[i] = kScoreAll && bias != nullptr && expert < s.shape.experts ? bias[expert] : 0.0F;
  }
}

/// Chooses for one token; its slots go to shared memory.
template <int kPerLane, bool kScoreAll>
__device__ void ChooseForToken(const Selection<kPerLane>& s, int local) {
  const ScoreRule& rule = s.rule.score;
  TokenScores<kPerLane, kScoreAll> token;
  ReadToken(s.shape, rule, s.bias, s.buffers.partial_logits, s.first + local, s.row(), token);
  const bool by_mass = rule.renormalise == Renormalise::kMass;
  const bool in_set = s.rule.batch.kind != BatchKind::kNone;
  const auto score_of = [&](int expert) {
    return ScoreOf<kPerLane, kScoreAll>(s.shape, rule.score, token, s.row(), expert);
  };
  float norm = 1;
  if (!kScoreAll && rule.score == ScoreKind::kSoftmax && rule.renormalise == Renormalise::kNone)
    norm = SoftmaxMass(token.keys);
  if (by_mass && in_set)
    norm = WarpSum<16>(score_of(TakeBest(token.keys, rule.mass_k, s.shape.experts)));
  if (in_set) ForbidOutsideSet(s.shared, token.keys);
  const int ranks = by_mass && !in_set ? max(s.shape.top_k, rule.mass_k) : s.shape.top_k;
  int expert = TakeBest(token.keys, ranks, s.shape.experts);
  const float score = score_of(expert);
  if (by_mass && !in_set) norm = WarpSum<16>(Lane() < rule.mass_k ? score : 0.0F);
  const bool kept =
      Kept(s.rule.skip, s.shape.top_k, score) && expert < s.shape.experts && Lane() < s.shape.top_k;
  if (rule.renormalise == Renormalise::kKept) norm = WarpSum<16>(kept ? score : 0.0F);
  __syncwarp();  // before the next token overwrites the row
  if (Lane() >= s.shape.top_k) return;
  if (!kept) expert = s.shape.experts;
  const int slot = local * s.shape.top_k + Lane();
  s.shared.chosen[slot] = static_cast<uint16_t>(expert);
  s.shared.weights[slot] = kept ? __fdividef(score, norm) * rule.scale : 0.0F;
  if (kept)
    atomicOr(&s.shared.token_bits[expert * s.shared.words + local / 32], 1U << (local % 32));
}

}  // namespace moecast::kernels::route
