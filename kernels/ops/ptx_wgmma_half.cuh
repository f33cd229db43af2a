// Warpgroup products of either 16-bit format, in the shapes of latent attention (PTX ISA 9.0,
// 9.7.15.5): d[64, N] = a b (+ d if `add`), fp32 accumulators.
#pragma once

#include "kernels/ops/ptx_wgmma.cuh"

namespace moecast::kernels::ptx {

enum class Half { kBf16, kF16 };

// One product of format kHalf; what follows its registers in the text, then the operands.
#define MOECAST_PRODUCT(shape, registers, keep, rest, ...)                                         \
  if constexpr (kHalf == Half::kBf16)                                                              \
    asm volatile("{\n.reg .pred keep;\nsetp.ne.b32 keep, " keep                                    \
                 ", 0;\nwgmma.mma_async.sync.aligned." shape ".f32.bf16.bf16 {" registers          \
                 "}, " rest ";\n}" __VA_ARGS__);                                                   \
  else                                                                                             \
    asm volatile("{\n.reg .pred keep;\nsetp.ne.b32 keep, " keep                                    \
                 ", 0;\nwgmma.mma_async.sync.aligned." shape ".f32.f16.f16 {" registers "}, " rest \
                 ";\n}" __VA_ARGS__)

/// a [64, 16], b [8, 16].
template <Half kHalf>
__device__ __forceinline__ void Product(float (&d)[4], uint64_t a, uint64_t b, bool add) {
  MOECAST_PRODUCT("m64n8k16", MOECAST_REGISTERS_4, "%6", "%4, %5, keep, 1, 1, 0, 0",
                  : MOECAST_FLOATS_4(d, 0)
                  : "l"(a), "l"(b), "r"(static_cast<int>(add)));
}
/// a [64, 16], b [16, 16].
template <Half kHalf>
__device__ __forceinline__ void Product(float (&d)[8], uint64_t a, uint64_t b, bool add) {
  MOECAST_PRODUCT("m64n16k16", MOECAST_REGISTERS_8, "%10", "%8, %9, keep, 1, 1, 0, 0",
                  : MOECAST_FLOATS_8(d, 0)
                  : "l"(a), "l"(b), "r"(static_cast<int>(add)));
}
/// a [64, 16], b [32, 16].
template <Half kHalf>
__device__ __forceinline__ void Product(float (&d)[16], uint64_t a, uint64_t b, bool add) {
  MOECAST_PRODUCT("m64n32k16", MOECAST_REGISTERS_16, "%18", "%16, %17, keep, 1, 1, 0, 0",
                  : MOECAST_FLOATS_16(d, 0)
                  : "l"(a), "l"(b), "r"(static_cast<int>(add)));
}
/// a [64, 16], b [64, 16].
template <Half kHalf>
__device__ __forceinline__ void Product(float (&d)[32], uint64_t a, uint64_t b, bool add) {
  MOECAST_PRODUCT("m64n64k16", MOECAST_REGISTERS_32, "%34", "%32, %33, keep, 1, 1, 0, 0",
                  : MOECAST_FLOATS_32(d, 0)
                  : "l"(a), "l"(b), "r"(static_cast<int>(add)));
}
/// a [64, 16] from registers, b [64, 16].
template <Half kHalf>
__device__ __forceinline__ void Product(float (&d)[32], const uint32_t (&a)[4], uint64_t b,
                                        bool add) {
  MOECAST_PRODUCT("m64n64k16", MOECAST_REGISTERS_32, "%37",
                  "{%32, %33, %34, %35}, %36, keep, 1, 1, 0",
                  : MOECAST_FLOATS_32(d, 0)
                  : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(static_cast<int>(add)));
}

/// a [16, 64] with rows of K (RowsDescriptor), b [8, 16].
template <Half kHalf>
__device__ __forceinline__ void ProductColumns(float (&d)[4], uint64_t a, uint64_t b, bool add) {
  MOECAST_PRODUCT("m64n8k16", MOECAST_REGISTERS_4, "%6", "%4, %5, keep, 1, 1, 1, 0",
                  : MOECAST_FLOATS_4(d, 0)
                  : "l"(a), "l"(b), "r"(static_cast<int>(add)));
}
/// a [16, 64] with rows of K, b [16, 16].
template <Half kHalf>
__device__ __forceinline__ void ProductColumns(float (&d)[8], uint64_t a, uint64_t b, bool add) {
  MOECAST_PRODUCT("m64n16k16", MOECAST_REGISTERS_8, "%10", "%8, %9, keep, 1, 1, 1, 0",
                  : MOECAST_FLOATS_8(d, 0)
                  : "l"(a), "l"(b), "r"(static_cast<int>(add)));
}
/// a [16, 64] with rows of K, b [32, 16].
template <Half kHalf>
__device__ __forceinline__ void ProductColumns(float (&d)[16], uint64_t a, uint64_t b, bool add) {
  MOECAST_PRODUCT("m64n32k16", MOECAST_REGISTERS_16, "%18", "%16, %17, keep, 1, 1, 1, 0",
                  : MOECAST_FLOATS_16(d, 0)
                  : "l"(a), "l"(b), "r"(static_cast<int>(add)));
}

/// a [64, 16], b [16, 256] with rows of K.
template <Half kHalf>
__device__ __forceinline__ void ProductRows(float (&d)[128], uint64_t a, uint64_t b, bool add) {
  MOECAST_PRODUCT("m64n256k16", MOECAST_REGISTERS_128, "%130", "%128, %129, keep, 1, 1, 0, 1",
                  : MOECAST_FLOATS_128(d)
                  : "l"(a), "l"(b), "r"(static_cast<int>(add)));
}
/// a [64, 16] from registers, b [16, 256] with rows of K.
template <Half kHalf>
__device__ __forceinline__ void ProductRows(float (&d)[128], const uint32_t (&a)[4], uint64_t b,
                                            bool add) {
  MOECAST_PRODUCT("m64n256k16", MOECAST_REGISTERS_128, "%133",
                  "{%128, %129, %130, %131}, %132, keep, 1, 1, 1",
                  : MOECAST_FLOATS_128(d)
                  : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(static_cast<int>(add)));
}

#undef MOECAST_PRODUCT

}  // namespace moecast::kernels::ptx
