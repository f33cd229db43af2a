// Warpgroup products (wgmma): their fences, operand descriptors and shapes. One instruction per
// function, with its section of the PTX ISA 9.0.
#pragma once

#include <cstdint>

#include "kernels/ops/ptx.cuh"

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

#define MOECAST_REGISTERS_4 "%0, %1, %2, %3"
#define MOECAST_REGISTERS_8 "%0, %1, %2, %3, %4, %5, %6, %7"
#define MOECAST_REGISTERS_16 "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15"
#define MOECAST_REGISTERS_32                                                              \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, " \
  "%19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define MOECAST_REGISTERS_64                                                              \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, " \
  "%19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35, " \
  "%36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, %50, %51, %52, " \
  "%53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define MOECAST_REGISTERS_128                                                             \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, " \
  "%19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35, " \
  "%36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, %50, %51, %52, " \
  "%53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, %64, %65, %66, %67, %68, %69, " \
  "%70, %71, %72, %73, %74, %75, %76, %77, %78, %79, %80, %81, %82, %83, %84, %85, %86, " \
  "%87, %88, %89, %90, %91, %92, %93, %94, %95, %96, %97, %98, %99, %100, %101, %102, "   \
  "%103, %104, %105, %106, %107, %108, %109, %110, %111, %112, %113, %114, %115, %116, "  \
  "%117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"
#define MOECAST_FLOATS_4(d, i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define MOECAST_FLOATS_8(d, i)                                                                \
  "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), \
      "+f"(d[i + 6]), "+f"(d[i + 7])
#define MOECAST_FLOATS_16(d, i) MOECAST_FLOATS_8(d, i), MOECAST_FLOATS_8(d, i + 8)
#define MOECAST_FLOATS_32(d, i)                                                    \
  MOECAST_FLOATS_8(d, i), MOECAST_FLOATS_8(d, i + 8), MOECAST_FLOATS_8(d, i + 16), \
      MOECAST_FLOATS_8(d, i + 24)
#define MOECAST_FLOATS_64(d, i) MOECAST_FLOATS_32(d, i), MOECAST_FLOATS_32(d, i + 32)
#define MOECAST_FLOATS_128(d) MOECAST_FLOATS_64(d, 0), MOECAST_FLOATS_64(d, 64)

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
/// a [64, 16], b [64, 16], bf16.
__device__ __forceinline__ void ProductBf16N64(float (&d)[32], uint64_t a, uint64_t b, bool add) {
  asm volatile(
      "{\n"
      ".reg .pred keep;\n"
      "setp.ne.b32 keep, %34, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 "
      "{" MOECAST_REGISTERS_32
      "}, %32, %33, keep, 1, 1, 0, 0;\n"
      "}"
      : MOECAST_FLOATS_32(d, 0)
      : "l"(a), "l"(b), "r"(static_cast<int>(add)));
}
/// a [64, 16] from registers, b [64, 16], bf16.
__device__ __forceinline__ void ProductBf16N64(float (&d)[32], const uint32_t (&a)[4], uint64_t b,
                                               bool add) {
  asm volatile(
      "{\n"
      ".reg .pred keep;\n"
      "setp.ne.b32 keep, %37, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 "
      "{" MOECAST_REGISTERS_32
      "}, {%32, %33, %34, %35}, %36, keep, 1, 1, 0;\n"
      "}"
      : MOECAST_FLOATS_32(d, 0)
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(static_cast<int>(add)));
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
/// a [64, 16], b [16, 256] with rows of K, bf16.
__device__ __forceinline__ void ProductRowsBf16N256(float (&d)[128], uint64_t a, uint64_t b,
                                                    bool add) {
  asm volatile(
      "{\n"
      ".reg .pred keep;\n"
      "setp.ne.b32 keep, %130, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 "
      "{" MOECAST_REGISTERS_128
      "}, %128, %129, keep, 1, 1, 0, 1;\n"
      "}"
      : MOECAST_FLOATS_128(d)
      : "l"(a), "l"(b), "r"(static_cast<int>(add)));
}

/// a [64, 16] from registers, b [16, 256] with rows of K, bf16.
__device__ __forceinline__ void ProductRowsBf16N256(float (&d)[128], const uint32_t (&a)[4],
                                                    uint64_t b, bool add) {
  asm volatile(
      "{\n"
      ".reg .pred keep;\n"
      "setp.ne.b32 keep, %133, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 "
      "{" MOECAST_REGISTERS_128
      "}, {%128, %129, %130, %131}, %132, keep, 1, 1, 1;\n"
      "}"
      : MOECAST_FLOATS_128(d)
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(static_cast<int>(add)));
}
/// a [64, 16], b [8, 16], bf16.
__device__ __forceinline__ void ProductBf16(float (&d)[4], uint64_t a, uint64_t b, bool add) {
  asm volatile(
      "{\n"
      ".reg .pred keep;\n"
      "setp.ne.b32 keep, %6, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 "
      "{" MOECAST_REGISTERS_4
      "}, %4, %5, keep, 1, 1, 0, 0;\n"
      "}"
      : MOECAST_FLOATS_4(d, 0)
      : "l"(a), "l"(b), "r"(static_cast<int>(add)));
}
/// a [16, 64] with rows of K, b [8, 16], bf16.
__device__ __forceinline__ void ProductColumnsBf16(float (&d)[4], uint64_t a, uint64_t b,
                                                   bool add) {
  asm volatile(
      "{\n"
      ".reg .pred keep;\n"
      "setp.ne.b32 keep, %6, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 "
      "{" MOECAST_REGISTERS_4
      "}, %4, %5, keep, 1, 1, 1, 0;\n"
      "}"
      : MOECAST_FLOATS_4(d, 0)
      : "l"(a), "l"(b), "r"(static_cast<int>(add)));
}
/// a [64, 16], b [16, 16], bf16.
__device__ __forceinline__ void ProductBf16(float (&d)[8], uint64_t a, uint64_t b, bool add) {
  asm volatile(
      "{\n"
      ".reg .pred keep;\n"
      "setp.ne.b32 keep, %10, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n16k16.f32.bf16.bf16 "
      "{" MOECAST_REGISTERS_8
      "}, %8, %9, keep, 1, 1, 0, 0;\n"
      "}"
      : MOECAST_FLOATS_8(d, 0)
      : "l"(a), "l"(b), "r"(static_cast<int>(add)));
}
/// a [16, 64] with rows of K, b [16, 16], bf16.
__device__ __forceinline__ void ProductColumnsBf16(float (&d)[8], uint64_t a, uint64_t b,
                                                   bool add) {
  asm volatile(
      "{\n"
      ".reg .pred keep;\n"
      "setp.ne.b32 keep, %10, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n16k16.f32.bf16.bf16 "
      "{" MOECAST_REGISTERS_8
      "}, %8, %9, keep, 1, 1, 1, 0;\n"
      "}"
      : MOECAST_FLOATS_8(d, 0)
      : "l"(a), "l"(b), "r"(static_cast<int>(add)));
}
/// a [64, 16], b [32, 16], bf16.
__device__ __forceinline__ void ProductBf16(float (&d)[16], uint64_t a, uint64_t b, bool add) {
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
/// a [16, 64] with rows of K, b [32, 16], bf16.
__device__ __forceinline__ void ProductColumnsBf16(float (&d)[16], uint64_t a, uint64_t b,
                                                   bool add) {
  asm volatile(
      "{\n"
      ".reg .pred keep;\n"
      "setp.ne.b32 keep, %18, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n32k16.f32.bf16.bf16 "
      "{" MOECAST_REGISTERS_16
      "}, %16, %17, keep, 1, 1, 1, 0;\n"
      "}"
      : MOECAST_FLOATS_16(d, 0)
      : "l"(a), "l"(b), "r"(static_cast<int>(add)));
}

#undef MOECAST_REGISTERS_4
#undef MOECAST_REGISTERS_8
#undef MOECAST_REGISTERS_16
#undef MOECAST_REGISTERS_32
#undef MOECAST_REGISTERS_64
#undef MOECAST_REGISTERS_128
#undef MOECAST_FLOATS_4
#undef MOECAST_FLOATS_8
#undef MOECAST_FLOATS_16
#undef MOECAST_FLOATS_32
#undef MOECAST_FLOATS_64
#undef MOECAST_FLOATS_128

}  // namespace moecast::kernels::ptx
