#include "sim/policy/experts/expert_set.h"

#include <algorithm>
#include <cmath>

#include "sim/base/check.h"
#include "sim/policy/experts/expert_set_loops.h"

namespace moecast {
namespace {

constexpr int64_t kBitBytes = 32;  // of one layer's set in TakeJob

size_t Cells(int64_t rows, int64_t columns) { return static_cast<size_t>(rows * columns); }

/// Adds what is above `threshold` and the first `ties` experts that equal it to a layer's members.
/// An expert of utility 0 was ranked by no token and is not added.
void AddFrom(std::span<const uint32_t> utilities, uint32_t threshold, int64_t ties,
             std::span<uint8_t> members) {
  for (size_t e = 0; e < utilities.size(); ++e) {
    if (utilities[e] > threshold) members[e] = 1;
  }
  if (threshold == 0) return;
  for (size_t e = 0; e < utilities.size() && ties > 0; ++e) {
    if (utilities[e] != threshold) continue;
    members[e] = 1;
    --ties;
  }
}

struct LayerSet {
  std::span<uint32_t> utilities;
  std::span<uint8_t> members;
};

LayerSet SetOf(const RankedShape& shape, int64_t layer, BatchScratch& scratch) {
  const auto first = static_cast<size_t>(layer * MemberStride(shape));
  const auto experts = static_cast<size_t>(shape.experts);
  return {std::span(scratch.utilities).subspan(first, experts),
          std::span(scratch.members).subspan(first, experts)};
}

}  // namespace

uint16_t ScoreWeight(float score) {
  constexpr float kUnits = 65535;
  return static_cast<uint16_t>(std::lround(std::clamp(score, 0.0F, 1.0F) * kUnits));
}

const ExpertSetLoops& BestExpertSetLoops() {
#ifdef MOECAST_X86_EXPERT_SETS
  if (const ExpertSetLoops* loops = Avx2ExpertSetLoops()) return *loops;
#endif
  return PortableExpertSetLoops();
}

void ClearSets(const RankedShape& shape, BatchScratch& scratch) {
  scratch.members.assign(Cells(shape.moe_layers, MemberStride(shape)), 0);
  scratch.counts.assign(Cells(shape.moe_layers, shape.expert_stride()), 0);
}

void AddBest(const RankedBatch& batch, int64_t ranks, BatchScratch& scratch) {
  const int64_t stride = MemberStride(batch.shape);
  const int64_t rank_stride = batch.shape.rank_stride();
  SIM_CHECK(ranks <= batch.shape.ranks);
  for (const uint16_t* ids : batch.ids) {
    uint8_t* members = scratch.members.data();
    for (int64_t layer = 0; layer < batch.shape.moe_layers; ++layer) {
      for (int64_t rank = 0; rank < ranks; ++rank) members[ids[rank]] = 1;
      members += stride;
      ids += rank_stride;
    }
  }
  for (int64_t layer = 0; layer < batch.shape.moe_layers; ++layer) {  // unknown rows marked it
    scratch.members[static_cast<size_t>(layer * stride + batch.shape.experts)] = 0;
  }
}

void SumWeights(const RankedBatch& batch, BatchScratch& scratch) {
  SIM_CHECK(batch.weights.size() == batch.ids.size());
  const int64_t stride = MemberStride(batch.shape);
  const int64_t rank_stride = batch.shape.rank_stride();
  const int64_t ranks = batch.shape.ranks;
  scratch.utilities.assign(Cells(batch.shape.moe_layers, stride), 0);
  for (size_t token = 0; token < batch.ids.size(); ++token) {
    const uint16_t* ids = batch.ids[token];
    const uint16_t* weights = batch.weights[token];
    uint32_t* utilities = scratch.utilities.data();
    for (int64_t layer = 0; layer < batch.shape.moe_layers; ++layer) {
      for (int64_t rank = 0; rank < ranks; ++rank) utilities[ids[rank]] += weights[rank];
      utilities += stride;
      ids += rank_stride;
      weights += rank_stride;
    }
  }
}

void FillByBudget(const RankedShape& shape, int64_t experts, BatchScratch& scratch) {
  const ExpertSetLoops& loops = BestExpertSetLoops();
  for (int64_t layer = 0; layer < shape.moe_layers; ++layer) {
    const auto [utilities, members] = SetOf(shape, layer, scratch);
    int64_t left = experts;
    for (size_t e = 0; e < members.size(); ++e) {
      left -= members[e];
      if (members[e] != 0) utilities[e] = 0;  // already in: no rival of those who want in
    }
    if (left <= 0) continue;
    const uint32_t threshold = loops.threshold_by_count(utilities.data(), shape.experts, left);
    const auto above =
        std::ranges::count_if(utilities, [threshold](uint32_t u) { return u > threshold; });
    AddFrom(utilities, threshold, left - above, members);
  }
}

void FillByMass(const RankedShape& shape, double mass, BatchScratch& scratch) {
  const ExpertSetLoops& loops = BestExpertSetLoops();
  for (int64_t layer = 0; layer < shape.moe_layers; ++layer) {
    const auto [utilities, members] = SetOf(shape, layer, scratch);
    uint64_t total = 0;
    for (const uint32_t u : utilities) total += u;
    if (total == 0) continue;
    const auto wanted = static_cast<uint64_t>(std::ceil(mass * static_cast<double>(total)));
    const uint32_t threshold = loops.threshold_by_sum(utilities.data(), shape.experts, wanted);
    uint64_t held = 0;
    for (const uint32_t u : utilities) held += u > threshold ? u : 0;
    const uint64_t missing = wanted > held ? wanted - held : 0;
    const uint64_t ties = threshold == 0 ? 0 : (missing + threshold - 1) / threshold;
    AddFrom(utilities, threshold, static_cast<int64_t>(ties), members);
  }
}

void CountBestMembers(const RankedBatch& batch, int64_t ranks, BatchScratch& scratch) {
  SIM_CHECK(ranks >= 1 && ranks <= batch.shape.ranks);
  scratch.member_bits.resize(Cells(batch.shape.moe_layers, kBitBytes));
  scratch.packed.resize(Cells(batch.shape.moe_layers, kPackedStride));
  BestExpertSetLoops().take({.rows = batch.ids.data(),
                             .tokens = batch.tokens(),
                             .moe_layers = batch.shape.moe_layers,
                             .rank_stride = batch.shape.rank_stride(),
                             .ranks = ranks,
                             .experts = batch.shape.experts,
                             .take = batch.shape.top_k,
                             .members = scratch.members.data(),
                             .member_stride = MemberStride(batch.shape),
                             .member_bits = scratch.member_bits.data(),
                             .packed = scratch.packed.data(),
                             .counts = scratch.counts.data(),
                             .expert_stride = batch.shape.expert_stride()});
}

}  // namespace moecast
