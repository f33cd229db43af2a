// The product of one warp in one stage: 64 weight rows times a chunk of the columns of up to 32
// tokens. Token tile j holds tokens 8j to 8j + 7; a lane supplies token lane / 4 of a tile and
// accumulates tokens lane % 4 * 2 and the next.
#pragma once

#include "kernels/ops/expert_gemm/fragment.cuh"
#include "kernels/ops/expert_gemm/geometry.cuh"

namespace moecast::kernels {

/// A lane's activations of one chunk, and the scales that go with its columns.
template <WeightFormat kFormat, int kTiles>
struct Chunk {
  static constexpr int kSteps = Geometry<kFormat>::kSteps;
  uint4 b[kTiles][kSteps];
  float weight_scale[2];  // fp8_block: of even and of odd row tiles
};

/// fp8_block: scales of the block of weights that holds column `first` and the pass's unit, whose
/// 64 rows, or the 32 of gate and of up, lie in one block. Zero past the last column.
__device__ inline float2 LoadWeightScales(const StreamArgs& args, const Pass& pass, int first) {
  const ExpertShape& shape = args.shape;
  const int wide = (shape.hidden + kFp8BlockSize - 1) / kFp8BlockSize;
  const int narrow = (shape.intermediate + kFp8BlockSize - 1) / kFp8BlockSize;
  const int column = first / kFp8BlockSize;
  const size_t blocks = static_cast<size_t>(pass.expert) * wide * narrow;
  if (first >= Columns(args, pass)) return make_float2(0, 0);
  if (pass.down) {
    const int row = pass.unit * kUnitRows / kFp8BlockSize;
    const float scale = args.experts.down_scale[blocks + row * narrow + column];
    return make_float2(scale, scale);
  }
  const int row = pass.unit * (kUnitRows / 2) / kFp8BlockSize;
  const float* gate = args.experts.gate_up_scale + 2 * blocks + row * wide + column;
  return make_float2(gate[0], gate[narrow * wide]);
}

/// Requests the chunk that starts at column `first`; zero past the last column.
///   rows[j]  the token row this lane supplies to token tile j      // (columns)
template <WeightFormat kFormat, int kTiles>
__device__ void LoadChunk(const StreamArgs& args, const Pass& pass,
                          const __nv_bfloat16* const (&rows)[kTiles], int first,
                          Chunk<kFormat, kTiles>& chunk) {
  const int columns = Columns(args, pass);
  const int quad = static_cast<int>(threadIdx.x) % 4;
#pragma unroll
  for (int j = 0; j < kTiles; ++j) {
#pragma unroll
    for (int s = 0; s < Chunk<kFormat, kTiles>::kSteps; ++s) {
      chunk.b[j][s] = make_uint4(0, 0, 0, 0);
      if (first + s * 32 < columns) chunk.b[j][s] = ptx::Load(rows[j] + first + s * 32 + quad * 8);
    }
  }
  if constexpr (kFormat == WeightFormat::kFp8Block) {
    const float2 scales = LoadWeightScales(args, pass, first);
    chunk.weight_scale[0] = scales.x;
    chunk.weight_scale[1] = scales.y;
  }
}

/// What a chunk's sums start from and are multiplied with, per 4-bit or activation group. Elements
/// 0 and 1 of a lane's accumulators are its two tokens.
template <WeightFormat kFormat, int kTiles>
struct GroupTerms {
  static constexpr int kSteps = Geometry<kFormat>::kSteps;
  static constexpr int kGroupSteps =
      GroupColumns(kFormat) == 0 ? kSteps : GroupColumns(kFormat) / 32;
  static constexpr int kCount = kSteps / kGroupSteps;
  float start[kCount][kTiles][2];  // 4 bits: minus what the codes' bias adds
  float scale[kTiles][2];          // fp8_block: the tokens' scales
};

/// Rounds the chunk's activations to what the format multiplies and finds its group terms.
template <WeightFormat kFormat, int kTiles>
__device__ void Prepare(float factor, Chunk<kFormat, kTiles>& chunk,
                        GroupTerms<kFormat, kTiles>& terms) {
  using Terms = GroupTerms<kFormat, kTiles>;
#pragma unroll
  for (int j = 0; j < kTiles; ++j) {
    if constexpr (kFormat == WeightFormat::kFp8) {
      QuantiseRow(chunk.b[j], factor);
    } else if constexpr (kFormat == WeightFormat::kFp8Block) {
      const float largest = LargestOfToken(chunk.b[j]);
      QuantiseRow(chunk.b[j], largest > 0 ? kE4m3Max / largest : 0.0F);
      const int first_lane = static_cast<int>(threadIdx.x) % 4 * 2 * 4;
#pragma unroll
      for (int i = 0; i < 2; ++i)
        terms.scale[j][i] = __shfl_sync(0xffffffffU, largest, first_lane + i * 4) * (1 / kE4m3Max);
    } else if constexpr (IsInt4(kFormat)) {
      const uint4 bias = make_uint4(kNibbleBias, kNibbleBias, kNibbleBias, kNibbleBias);
#pragma unroll
      for (int group = 0; group < Terms::kCount; ++group) {
        float sum[4] = {};
        float other[4] = {};
#pragma unroll
        for (int s = group * Terms::kGroupSteps; s < (group + 1) * Terms::kGroupSteps; ++s) {
          Mma<kFormat>(sum, bias, chunk.b[j][s].x, chunk.b[j][s].y);
          Mma<kFormat>(other, bias, chunk.b[j][s].z, chunk.b[j][s].w);
        }
        terms.start[group][j][0] = sum[0] + other[0];
        terms.start[group][j][1] = sum[1] + other[1];
      }
    }
  }
}

/// part = what group number `group` starts from.
template <WeightFormat kFormat, int kTiles>
__device__ __forceinline__ void StartGroup(int group, const GroupTerms<kFormat, kTiles>& terms,
                                           float (&part)[kTiles][4]) {
#pragma unroll
  for (int j = 0; j < kTiles; ++j) {
#pragma unroll
    for (int i = 0; i < 4; ++i) part[j][i] = IsInt4(kFormat) ? terms.start[group][j][i % 2] : 0.0F;
  }
}

/// acc[j][i] += scale(j, i) part[j][i].
template <int kTiles, class Scale>
__device__ __forceinline__ void EndGroup(Scale scale, const float (&part)[kTiles][4],
                                         float (&acc)[kTiles][4]) {
#pragma unroll
  for (int j = 0; j < kTiles; ++j) {
#pragma unroll
    for (int i = 0; i < 4; ++i) acc[j][i] += scale(j, i) * part[j][i];
  }
}

/// Adds kRows row tiles' sums over the group that starts at step `first`, scaled, to acc.
template <WeightFormat kFormat, int kTiles, int kRows>
__device__ __forceinline__ void EndGroups(uint32_t weights, int first, int steps, int odd,
                                          const Chunk<kFormat, kTiles>& chunk,
                                          const GroupTerms<kFormat, kTiles>& terms,
                                          const float (&part)[kRows][kTiles][4],
                                          float (*acc)[kTiles][4]) {
#pragma unroll
  for (int m = 0; m < kRows; ++m) {
    if constexpr (IsInt4(kFormat)) {
      const auto tile = weights + static_cast<uint32_t>(m * Geometry<kFormat>::kTileBytes);
      const float2 scale = LoadRowScales<kFormat>(tile, first, steps);
      EndGroup([&](int, int i) { return i < 2 ? scale.x : scale.y; }, part[m], acc[m]);
    } else {
      const float scale = chunk.weight_scale[(m + odd) % 2];
      EndGroup([&](int j, int i) { return scale * terms.scale[j][i % 2]; }, part[m], acc[m]);
    }
  }
}

/// acc += kRows row tiles' weights, the first at shared address `weights`, times the chunk; `steps`
/// of its columns' steps exist. Several row tiles and token tiles give sums that do not wait for
/// each other. REQUIRES: the first row tile is even, or kRows is 1 and `odd` says what it is.
template <WeightFormat kFormat, int kTiles, int kRows>
__device__ void MultiplyTiles(uint32_t weights, int steps, int odd,
                              const Chunk<kFormat, kTiles>& chunk,
                              const GroupTerms<kFormat, kTiles>& terms, float (*acc)[kTiles][4]) {
  using Terms = GroupTerms<kFormat, kTiles>;
  constexpr int kTileBytes = Geometry<kFormat>::kTileBytes;
  constexpr bool kGrouped = GroupColumns(kFormat) != 0;
  float part[kRows][kTiles][4];
#pragma unroll
  for (int first = 0; first < Chunk<kFormat, kTiles>::kSteps; first += 2) {
    uint4 a[kRows][2][2];
#pragma unroll
    for (int m = 0; m < kRows; ++m)
      LoadWeights<kFormat>(weights + static_cast<uint32_t>(m * kTileBytes), first, steps, a[m]);
#pragma unroll
    for (int s = first; s < first + 2; ++s) {
      if (kGrouped && s % Terms::kGroupSteps == 0) {
#pragma unroll
        for (int m = 0; m < kRows; ++m) StartGroup(s / Terms::kGroupSteps, terms, part[m]);
      }
#pragma unroll
      for (int half = 0; half < 2; ++half) {
#pragma unroll
        for (int m = 0; m < kRows; ++m) {
#pragma unroll
          for (int j = 0; j < kTiles; ++j) {
            const uint4& b = chunk.b[j][s];
            Mma<kFormat>(kGrouped ? part[m][j] : acc[m][j], a[m][s - first][half],
                         half == 0 ? b.x : b.z, half == 0 ? b.y : b.w);
          }
        }
      }
      if constexpr (kGrouped) {
        if ((s + 1) % Terms::kGroupSteps == 0)
          EndGroups<kFormat, kTiles, kRows>(weights, s + 1 - Terms::kGroupSteps, steps, odd, chunk,
                                            terms, part, acc);
      }
    }
  }
}

}  // namespace moecast::kernels
