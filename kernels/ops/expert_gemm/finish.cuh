// From a group's accumulators to rows of act or y: sums over the warps that shared the columns, the
// scales of a whole product, SwiGLU.
#pragma once

#include "kernels/ops/expert_gemm/geometry.cuh"
#include "kernels/ops/ptx.cuh"

namespace moecast::kernels {

constexpr int kPitch = kUnitRows + 4;  // spreads the tokens of a lane quad over the banks
constexpr int kOwnBarrier = 1;         // named barriers 1 and 2 are the groups' own

/// A group's sums of one token tile, apart by warp.
using Partial = float[kGroupWarps][kExpertTileRows * kPitch];

// One thread's sum over the group's warps of `kCount` neighbouring rows of a token.
template <int kCount>
__device__ void SumWarps(const Partial& partial, int token, int row, float (&sum)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    sum[i] = 0;
#pragma unroll
    for (int w = 0; w < kGroupWarps; ++w) sum[i] += partial[w][token * kPitch + row + i];
  }
}

// Scales that the whole of a product shares: fp8_tensor's.
struct ProductScale {
  float even = 1;  // gate, or down
  float odd = 1;   // up
};
template <WeightFormat kFormat>
__device__ ProductScale ScaleOf(const StreamArgs& args, const Pass& pass) {
  if constexpr (kFormat == WeightFormat::kFp8) {
    const StoredExperts& e = args.experts;
    if (pass.down) return {e.act_scale * e.down_scale[pass.expert], 1};
    return {e.x_scale * e.gate_up_scale[2 * pass.expert],
            e.x_scale * e.gate_up_scale[2 * pass.expert + 1]};
  }
  return {};
}

// Writes a group's results of one token tile from its warps' partial sums; 16 threads to a token.
__device__ inline void WriteTile(const StreamArgs& args, const Pass& pass,
                                 const ProductScale& scale, int first_slot, int slots,
                                 const Partial& partial) {
  const int token = static_cast<int>(threadIdx.x) % kGroupThreads / 16;
  const int part = static_cast<int>(threadIdx.x) % 16;
  if (token >= slots) return;
  const auto slot = static_cast<size_t>(first_slot + token);
  if (pass.down) {
    float sum[4];
    SumWarps(partial, token, part * 4, sum);
    __nv_bfloat162 out[2] = {__floats2bfloat162_rn(sum[0] * scale.even, sum[1] * scale.even),
                             __floats2bfloat162_rn(sum[2] * scale.even, sum[3] * scale.even)};
    *reinterpret_cast<uint2*>(args.y + slot * args.shape.hidden + pass.unit * kUnitRows +
                              part * 4) = *reinterpret_cast<uint2*>(out);
    return;
  }
  float gate[2];
  float up[2];
  const int gate_row = part / 8 * 2 * kFragmentRows + part % 8 * 2;
  SumWarps(partial, token, gate_row, gate);
  SumWarps(partial, token, gate_row + kFragmentRows, up);
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    gate[i] *= scale.even;
    gate[i] = gate[i] / (1.0F + __expf(-gate[i])) * (up[i] * scale.odd);
  }
  *reinterpret_cast<__nv_bfloat162*>(args.act + slot * args.shape.intermediate +
                                     pass.unit * (kUnitRows / 2) + part * 2) =
      __floats2bfloat162_rn(gate[0], gate[1]);
}

// Sums the group's accumulators tile by tile and writes them.
template <int kTiles>
__device__ void Finish(const StreamArgs& args, const Pass& pass, const ProductScale& scale,
                       int first_slot, int slots, const float (&acc)[kRowTiles][kTiles][4],
                       Partial& partial) {
  const int group = static_cast<int>(threadIdx.x) / kGroupThreads;
  const int warp = static_cast<int>(threadIdx.x) / 32 % kGroupWarps;
  const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
  for (int j = 0; j < kTiles; ++j) {
    if (j * kExpertTileRows >= slots) break;
#pragma unroll
    for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
      for (int i = 0; i < 4; ++i)
        partial[warp][(lane % 4 * 2 + i % 2) * kPitch + m * kFragmentRows + lane / 4 + i / 2 * 8] =
            acc[m][j][i];
    }
    ptx::NamedBarrierSync(kOwnBarrier + group, kGroupThreads);
    WriteTile(args, pass, scale, first_slot + j * kExpertTileRows, slots - j * kExpertTileRows,
              partial);
    ptx::NamedBarrierSync(kOwnBarrier + group, kGroupThreads);
  }
}

}  // namespace moecast::kernels
