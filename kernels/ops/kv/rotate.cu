// A warp multiplies 32 heads with the matrix, which the block keeps in shared memory. The summed
// index may be permuted alike in both operands, and the output column freely: lane 4 g + q takes
// channels 8 q .. 8 q + 7 of each 32, so every load and store is of 16 bytes.
#include "kernels/ops/kv/rotate.h"
#include "kernels/ops/kv/rotate_few.cuh"
#include "kernels/ops/launch.h"
#include "kernels/ops/ptx.cuh"

namespace moecast::kernels {
namespace {

constexpr int kThreads = 128;
constexpr int kHeadsOfWarp = 32;
constexpr int kHeadsOfBlock = kThreads / 32 * kHeadsOfWarp;
constexpr int kFewElements = 1 << 21;  // up to here the other form is the faster one
constexpr int kChunk = 32;             // channels that a row of four lanes holds in one load each

// 64 bytes more than the row: rows of one parity lie in one half of the banks.
template <int kHeadDim>
constexpr int kMatrixRow = kHeadDim * 2 + 64;

template <int kHeadDim>
__device__ void LoadMatrix(const __nv_bfloat16* columns, uint8_t* matrix) {
  constexpr int kVectors = kHeadDim / 8;
  for (int i = static_cast<int>(threadIdx.x); i < kHeadDim * kVectors; i += kThreads)
    *reinterpret_cast<uint4*>(matrix + i / kVectors * kMatrixRow<kHeadDim> + i % kVectors * 16) =
        ptx::LoadCached(columns + i * 8);
}

// 32 heads of a lane's four rows g, g + 8, g + 16, g + 24.
template <int kHeadDim>
struct Heads {
  static constexpr int kChunks = kHeadDim / kChunk;
  uint4 x[4][kChunks];
};

// Sums of 32 output columns: n tile, heads 16 s .. 16 s + 15, C registers.
template <int kHeadDim>
__device__ __forceinline__ void Multiply(const Heads<kHeadDim>& heads, uint32_t matrix, int block,
                                         float (&sums)[4][2][4]) {
  const int lane = static_cast<int>(threadIdx.x % 32);
#pragma unroll
  for (int n = 0; n < 4; ++n) {
    const int column = block * kChunk + lane / 8 * 8 + n * 2 + lane / 4 % 2;
    const uint32_t row =
        matrix + static_cast<uint32_t>(column * kMatrixRow<kHeadDim> + lane % 4 * 16);
#pragma unroll
    for (int k = 0; k < heads.kChunks; ++k) {
      const uint4 r = ptx::LoadShared(row + static_cast<uint32_t>(k * kChunk * 2));
#pragma unroll
      for (int s = 0; s < 2; ++s) {
        const uint4& low = heads.x[2 * s][k];
        const uint4& high = heads.x[2 * s + 1][k];
        ptx::MmaBf16(sums[n][s], make_uint4(low.x, high.x, low.y, high.y), r.x, r.y);
        ptx::MmaBf16(sums[n][s], make_uint4(low.z, high.z, low.w, high.w), r.z, r.w);
      }
    }
  }
}

template <int kHeadDim>
__global__ void __launch_bounds__(kThreads) RotateKernel(RotateArgs args) {
  extern __shared__ __align__(1024) uint8_t matrix[];
  ptx::GridDependencyLaunch();
  LoadMatrix<kHeadDim>(args.columns, matrix);  // no earlier kernel's output
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int first = static_cast<int>(blockIdx.x) * kHeadsOfBlock +
                    static_cast<int>(threadIdx.x) / 32 * kHeadsOfWarp + lane / 4;
  __nv_bfloat16* head[4];
  Heads<kHeadDim> heads;
  ptx::GridDependencyWait();
#pragma unroll
  for (int r = 0; r < 4; ++r) {
    const int i = first + 8 * r;
    head[r] = i < args.rows * args.heads ? args.heads_data + i / args.heads * args.stride +
                                               i % args.heads * kHeadDim + lane % 4 * 8
                                         : nullptr;
#pragma unroll
    for (int k = 0; k < heads.kChunks; ++k)
      heads.x[r][k] = head[r] != nullptr ? ptx::Load(head[r] + k * kChunk) : uint4{};
  }
  __syncthreads();
#pragma unroll 1
  for (int b = 0; b < heads.kChunks; ++b) {
    float sums[4][2][4] = {};
    Multiply(heads, ptx::SharedAddress(matrix), b, sums);
#pragma unroll
    for (int r = 0; r < 4; ++r) {
      if (head[r] == nullptr) continue;
      uint32_t words[4];
#pragma unroll
      for (int n = 0; n < 4; ++n) {
        const float* const c = sums[n][r / 2] + r % 2 * 2;
        words[n] = few_heads::Rounded(c[0] * args.factor, c[1] * args.factor);
      }
      *reinterpret_cast<uint4*>(head[r] + b * kChunk) =
          make_uint4(words[0], words[1], words[2], words[3]);
    }
  }
}

template <int kHeadDim>
void LaunchRotate(const RotateArgs& args, cudaStream_t stream) {
  const int heads = args.rows * args.heads;
  if (heads * kHeadDim <= kFewElements) return few_heads::Launch<kHeadDim>(args, stream);
  Launch(RotateKernel<kHeadDim>,
         {.blocks = (heads + kHeadsOfBlock - 1) / kHeadsOfBlock,
          .threads = kThreads,
          .shared_bytes = static_cast<size_t>(kHeadDim) * kMatrixRow<kHeadDim>},
         stream, args);
}

}  // namespace

void RotateHeads(const RotateArgs& args, cudaStream_t stream) {
  args.head_dim == 64 ? LaunchRotate<64>(args, stream) : LaunchRotate<128>(args, stream);
}

}  // namespace moecast::kernels
