// Warpgroup products (wgmma): their fences, operand descriptors and shapes. One instruction per
// function, with its section of the PTX ISA 9.0.
#pragma once

#include <cstdint>

#include "kernels/ops/ptx.cuh"
#include "kernels/ops/ptx_wgmma_operands.h"

namespace moecast::kernels::ptx {

/// Orders registers and shared memory before the following products (9.7.15.7 wgmma.fence).
__device__ __forceinline__ void ProductFence() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
__device__ __forceinline__ void ProductCommit() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
/// Until at most kPending groups of products are unfinished.
template <int kPending>
__device__ __forceinline__ void ProductWait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}
/// Keeps the compiler from reading accumulators ahead of a wait.
template <int kCount>
__device__ __forceinline__ void HoldRegisters(float (&d)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) asm volatile("" : "+f"(d[i])::"memory");
}

/// Matrix descriptor of a K-major tile of 128-byte rows in the 128-byte swizzle, 8 rows every 1024
/// bytes (9.7.15.5.1.2). REQUIRES: tile is 1024-byte aligned. Adding 2 moves on by 32 bytes of K.
__device__ __forceinline__ uint64_t TileDescriptor(const void* tile) {
  constexpr uint64_t kLeading = uint64_t{1} << 16;  // not used by swizzled K-major tiles
  constexpr uint64_t kStride = uint64_t{1024 >> 4} << 32;
  constexpr uint64_t kSwizzle128 = uint64_t{1} << 62;
  return ((SharedAddress(tile) & 0x3ffffU) >> 4) | kLeading | kStride | kSwizzle128;
}

/// Matrix descriptor of an operand whose K runs along rows: blocks of 64 columns, each of 128-byte
/// rows in the 128-byte swizzle, `block_bytes` apart (9.7.15.5.1.2). REQUIRES: as above. Adding 128
/// moves on by 16 rows.
__device__ __forceinline__ uint64_t RowsDescriptor(const void* tile, uint32_t block_bytes) {
  constexpr uint64_t kStride = uint64_t{1024 >> 4} << 32;
  constexpr uint64_t kSwizzle128 = uint64_t{1} << 62;
  return ((SharedAddress(tile) & 0x3ffffU) >> 4) | uint64_t{block_bytes >> 4} << 16 | kStride |
         kSwizzle128;
}

// Products of a warpgroup (9.7.15.5): d[64, N] = a b (+ d if `add`), fp32 accumulators. Operands in
// shared memory are named by descriptors.

/// a [64, 16], b [256, 16], bf16.
__device__ __forceinline__ void ProductBf16N256(float (&d)[128], uint64_t a, uint64_t b, bool add) {
  asm volatile(
      "{\n"
      ".reg .pred keep;\n"
      "setp.ne.b32 keep, %130, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 "
      "{" MOECAST_REGISTERS_128
      "}, %128, %129, keep, 1, 1, 0, 0;\n"
      "}"
      : MOECAST_FLOATS_128(d)
      : "l"(a), "l"(b), "r"(static_cast<int>(add)));
}
/// a [64, 32], b [256, 32], e4m3.
__device__ __forceinline__ void ProductE4m3N256(float (&d)[128], uint64_t a, uint64_t b, bool add) {
  asm volatile(
      "{\n"
      ".reg .pred keep;\n"
      "setp.ne.b32 keep, %130, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n256k32.f32.e4m3.e4m3 "
      "{" MOECAST_REGISTERS_128
      "}, %128, %129, keep, 1, 1;\n"
      "}"
      : MOECAST_FLOATS_128(d)
      : "l"(a), "l"(b), "r"(static_cast<int>(add)));
}
/// a [64, 32], b [128, 32], e4m3.
__device__ __forceinline__ void ProductE4m3N128(float (&d)[64], uint64_t a, uint64_t b, bool add) {
  asm volatile(
      "{\n"
      ".reg .pred keep;\n"
      "setp.ne.b32 keep, %66, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n128k32.f32.e4m3.e4m3 "
      "{" MOECAST_REGISTERS_64
      "}, %64, %65, keep, 1, 1;\n"
      "}"
      : MOECAST_FLOATS_64(d, 0)
      : "l"(a), "l"(b), "r"(static_cast<int>(add)));
}
/// a [64, 16] from registers, b [128, 16], bf16.
__device__ __forceinline__ void ProductBf16N128(float (&d)[64], const uint32_t (&a)[4], uint64_t b,
                                                bool add) {
  asm volatile(
      "{\n"
      ".reg .pred keep;\n"
      "setp.ne.b32 keep, %69, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 "
      "{" MOECAST_REGISTERS_64
      "}, {%64, %65, %66, %67}, %68, keep, 1, 1, 0;\n"
      "}"
      : MOECAST_FLOATS_64(d, 0)
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(static_cast<int>(add)));
}

/// a [64, 16], b [32, 16], bf16.
__device__ __forceinline__ void ProductBf16N32(float (&d)[16], uint64_t a, uint64_t b, bool add) {
  asm volatile(
      "{\n"
      ".reg .pred keep;\n"
      "setp.ne.b32 keep, %18, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n32k16.f32.bf16.bf16 "
      "{" MOECAST_REGISTERS_16
      "}, %16, %17, keep, 1, 1, 0, 0;\n"
      "}"
      : MOECAST_FLOATS_16(d, 0)
      : "l"(a), "l"(b), "r"(static_cast<int>(add)));
}
/// a [64, 16], b [128, 16], bf16.
__device__ __forceinline__ void ProductBf16N128(float (&d)[64], uint64_t a, uint64_t b, bool add) {
  asm volatile(
      "{\n"
      ".reg .pred keep;\n"
      "setp.ne.b32 keep, %66, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 "
      "{" MOECAST_REGISTERS_64
      "}, %64, %65, keep, 1, 1, 0, 0;\n"
      "}"
      : MOECAST_FLOATS_64(d, 0)
      : "l"(a), "l"(b), "r"(static_cast<int>(add)));
}
/// a [64, 16] from registers, b [16, 64] with rows of K (RowsDescriptor), bf16.
__device__ __forceinline__ void ProductRowsBf16N64(float (&d)[32], const uint32_t (&a)[4],
                                                   uint64_t b, bool add) {
  asm volatile(
      "{\n"
      ".reg .pred keep;\n"
      "setp.ne.b32 keep, %37, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 "
      "{" MOECAST_REGISTERS_32
      "}, {%32, %33, %34, %35}, %36, keep, 1, 1, 1;\n"
      "}"
      : MOECAST_FLOATS_32(d, 0)
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(static_cast<int>(add)));
}
/// a [64, 16] from registers, b [16, 128] with rows of K, bf16.
__device__ __forceinline__ void ProductRowsBf16N128(float (&d)[64], const uint32_t (&a)[4],
                                                    uint64_t b, bool add) {
  asm volatile(
      "{\n"
      ".reg .pred keep;\n"
      "setp.ne.b32 keep, %69, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 "
      "{" MOECAST_REGISTERS_64
      "}, {%64, %65, %66, %67}, %68, keep, 1, 1, 1;\n"
      "}"
      : MOECAST_FLOATS_64(d, 0)
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(static_cast<int>(add)));
}

}  // namespace moecast::kernels::ptx
