// Sizes of a block of the memory-bound products: its warps, and the ring its weights pass through.
#pragma once

#include "kernels/ops/expert_gemm/work_list.cuh"

namespace moecast::kernels {

constexpr int kGroups = 2;  // of warps that multiply
constexpr int kGroupWarps = 4;
constexpr int kGroupThreads = kGroupWarps * 32;
constexpr int kConsumerThreads = kGroups * kGroupThreads;
constexpr int kThreads = kConsumerThreads + 128;  // and a warp that copies, with three beside it
// Registers per thread: registers change hands between whole warpgroups.
constexpr int kConsumerRegisters = 232;
constexpr int kCopyRegisters = 40;
constexpr int kRingBytes = 200 * 1024;  // at most

template <WeightFormat kFormat>
struct Geometry {
  // Columns of a stage that one warp multiplies: whole fp8_block and w4a16_g128 groups.
  static constexpr int kChunkColumns = kFormat == WeightFormat::kBf16 ? 64 : 128;
  static constexpr int kSteps = kChunkColumns / 32;
  static constexpr int kStageColumns = kGroupWarps * kChunkColumns;
  static constexpr int kTileBytes =
      kStageColumns / BlockColumns(kFormat) * BlockBytes(kFormat);  // of one row tile in a stage
  static constexpr int kChunkBytes = kTileBytes / kGroupWarps;
  static constexpr int kStageBytes = kRowTiles * kTileBytes;
  static constexpr int kStages = kRingBytes / kStageBytes;
};

}  // namespace moecast::kernels
