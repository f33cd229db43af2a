// The PTX this project uses, one instruction per function, with its section of the PTX ISA 9.0.
#pragma once

#include <cstdint>

namespace moecast::kernels::ptx {

/// 16 bytes that will not be read again soon: no L1 line (9.7.9.8 ld, 9.7.9.2 cache eviction
/// priority).
__device__ __forceinline__ uint4 LoadStreaming(const void* address) {
  uint4 v;
  asm volatile("ld.global.nc.L1::no_allocate.L2::256B.v4.u32 {%0,%1,%2,%3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(address));
  return v;
}

/// 16 read-only bytes that other units read too.
__device__ __forceinline__ uint4 LoadCached(const void* address) {
  uint4 v;
  asm volatile("ld.global.nc.v4.u32 {%0,%1,%2,%3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(address));
  return v;
}

/// Starts moving one 128-byte line to L2 (9.7.9.15).
__device__ __forceinline__ void PrefetchL2(const void* address) {
  asm volatile("prefetch.global.L2 [%0];" ::"l"(address));
}

/// c[16,8] += a[16,16] b[16,8], bf16 operands, fp32 accumulators (9.7.14.5.8).
__device__ __forceinline__ void MmaBf16(float (&c)[4], const uint4& a, uint32_t b0, uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b0), "r"(b1));
}

/// Waits for the grid this one depends on (programmatic dependent launch, 9.7.13.15).
__device__ __forceinline__ void GridDependencyWait() {
  asm volatile("griddepcontrol.wait;" ::: "memory");
}
/// Lets the dependent grid start its independent prologue.
__device__ __forceinline__ void GridDependencyLaunch() {
  asm volatile("griddepcontrol.launch_dependents;");
}

}  // namespace moecast::kernels::ptx
