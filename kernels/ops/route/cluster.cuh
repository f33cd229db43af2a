// What the blocks of one cluster tell each other: a barrier in two halves and reads of each other's
// shared memory. A launch without clusters is a cluster of one. PTX ISA 9.0, section by function.
#pragma once

#include <cstdint>

namespace moecast::kernels::route {

/// This block's number in its cluster (10.30 %cluster_ctarank).
__device__ __forceinline__ int BlockInCluster() {
  unsigned rank;
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return static_cast<int>(rank);
}
/// All threads of the cluster arrive once and wait once (9.7.13.4 barrier.cluster); what a thread
/// wrote before it arrived is seen by those that have waited.
__device__ __forceinline__ void ClusterArrive() {
  asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
}
/// Orders nothing: for blocks that must only not leave before the others have arrived.
__device__ __forceinline__ void ClusterArriveRelaxed() {
  asm volatile("barrier.cluster.arrive.relaxed.aligned;" ::: "memory");
}
__device__ __forceinline__ void ClusterWait() {
  asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
}

/// The value at the same shared address in another block of the cluster (9.7.9.23 mapa, 9.7.9.8).
/// Not volatile, so that several are in flight: a barrier must stand before them.
__device__ __forceinline__ unsigned LoadFrom(int block, const unsigned* mine) {
  const auto local = static_cast<unsigned>(__cvta_generic_to_shared(mine));
  unsigned remote;
  unsigned value;
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(remote) : "r"(local), "r"(block));
  asm volatile("ld.shared::cluster.u32 %0, [%1];" : "=r"(value) : "r"(remote) : "memory");
  return value;
}
__device__ __forceinline__ unsigned long long LoadFrom(int block, const unsigned long long* mine) {
  const auto local = static_cast<unsigned>(__cvta_generic_to_shared(mine));
  unsigned remote;
  unsigned long long value;
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(remote) : "r"(local), "r"(block));
  asm volatile("ld.shared::cluster.u64 %0, [%1];" : "=l"(value) : "r"(remote) : "memory");
  return value;
}

}  // namespace moecast::kernels::route
