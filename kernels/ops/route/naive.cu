#include <cstddef>

#include "kernels/harness/cuda_check.h"
#include "kernels/ops/route/naive.h"

namespace moecast::kernels {
namespace {

constexpr int kThreads = 128;

// Where the packed gate matrix has its element: the inverse of PackRows.
__device__ size_t PackedIndex(int hidden, int row, int column) {
  const int in_lane = column % 8;  // halves of four, registers of two
  const int half = in_lane / 4;
  const int reg = in_lane % 4 / 2 * 2 + row % 16 / 8;
  const int lane = row % 8 * 4 + column % 32 / 8;
  const size_t tile = static_cast<size_t>(row / 16) * (hidden / 32) + column / 32;
  return tile * 512 + half * 256 + lane * 8 + reg * 2 + column % 2;
}

__global__ void LogitKernel(ExpertShape shape, const __nv_bfloat16* x, const __nv_bfloat16* gate,
                            float* logits) {
  const int i = static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x);
  if (i >= shape.tokens * shape.experts) return;
  const int token = i / shape.experts;
  float sum = 0;
  for (int h = 0; h < shape.hidden; ++h) {
    const size_t at = PackedIndex(shape.hidden, i % shape.experts, h);
    sum += __bfloat162float(x[static_cast<size_t>(token) * shape.hidden + h]) *
           __bfloat162float(gate[at]);
  }
  logits[i] = sum;
}

// Takes the token's best experts one by one out of `logits`; its weights hold the scores meanwhile.
__global__ void SelectKernel(ExpertShape shape, RoutingRule rule, RouteBuffers buffers) {
  const int token = static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x);
  if (token >= shape.tokens) return;
  float* logits = buffers.partial_logits + static_cast<size_t>(token) * shape.experts;
  int32_t* expert = buffers.expert_of_slot + token * shape.top_k;
  float* weight = buffers.weight_of_slot + token * shape.top_k;
  const bool softmax = rule.score.score == ScoreKind::kSoftmax;
  float top = logits[0];
  for (int e = 1; e < shape.experts; ++e) top = fmaxf(top, logits[e]);
  float all = 0;
  for (int e = 0; e < shape.experts; ++e) all += __expf(logits[e] - top);
  float mass = 0;
  float by_mass = 0;
  const int ranks = max(shape.top_k, rule.score.mass_k);
  for (int j = 0; j < ranks; ++j) {
    int best = 0;
    for (int e = 1; e < shape.experts; ++e) best = logits[e] > logits[best] ? e : best;
    const float score =
        softmax ? __expf(logits[best] - top) / all : 1 / (1 + __expf(-logits[best]));
    logits[best] = -INFINITY;
    by_mass += j < rule.score.mass_k ? score : 0;
    if (j >= shape.top_k) continue;
    expert[j] = best;
    weight[j] = score;
    mass += score;
  }
  float entropy = 0;
  for (int j = 0; j < shape.top_k; ++j) entropy -= weight[j] / mass * __logf(weight[j] / mass);
  const float ratio = shape.top_k > 1 ? entropy / __logf(static_cast<float>(shape.top_k)) : 0;
  const float best_score = weight[0];
  float before = 0;
  float kept = 0;
  for (int j = 0; j < shape.top_k; ++j) {
    const float score = weight[j];
    if (rule.skip.Keeps(j, score, best_score, before, mass, ratio)) {
      kept += score;
    } else {
      expert[j] = shape.experts;
      weight[j] = 0;
    }
    before += score;
  }
  const float norm = rule.score.renormalise == Renormalise::kKept   ? kept
                     : rule.score.renormalise == Renormalise::kMass ? by_mass
                                                                    : 1.0F;
  for (int j = 0; j < shape.top_k; ++j) weight[j] *= rule.score.scale / norm;
}

__global__ void AlignKernel(ExpertShape shape, RouteBuffers buffers) {
  const int slots = shape.tokens * shape.top_k;
  int active = 0;
  int row = 0;
  buffers.offsets[0] = 0;
  for (int slot = 0; slot < slots; ++slot) buffers.position_of_slot[slot] = -1;
  for (int e = 0; e < shape.experts; ++e) {
    for (int slot = 0; slot < slots; ++slot) {
      if (buffers.expert_of_slot[slot] != e) continue;
      buffers.position_of_slot[slot] = row;
      buffers.slot_token[row++] = slot / shape.top_k;
    }
    if (row == buffers.offsets[active]) continue;
    buffers.active_experts[active] = e;
    buffers.offsets[++active] = row;
  }
  *buffers.active_count = active;
}

int BlocksFor(int threads) { return (threads + kThreads - 1) / kThreads; }

}  // namespace

void RouteNaive(const ExpertShape& shape, const RoutingRule& rule, const __nv_bfloat16* x,
                const __nv_bfloat16* gate, const RouteBuffers& buffers, cudaStream_t stream) {
  LogitKernel<<<BlocksFor(shape.tokens * shape.experts), kThreads, 0, stream>>>(
      shape, x, gate, buffers.partial_logits);
  SelectKernel<<<BlocksFor(shape.tokens), kThreads, 0, stream>>>(shape, rule, buffers);
  AlignKernel<<<1, 1, 0, stream>>>(shape, buffers);
  CUDA_CHECK(cudaGetLastError());
}

}  // namespace moecast::kernels
