// A warp's units: where each comes from, and the ring of bulk copies that brings them.
#pragma once

#include <cstdint>

#include "kernels/ops/attend/kernel_args.h"
#include "kernels/ops/attend/split_plan.h"
#include "kernels/ops/ptx.cuh"

namespace moecast::kernels {

/// What the lengths of the sequences amount to, in shared memory.
struct UnitTables {
  int32_t* starts = nullptr;         // [sequences + 1], see PlaceOfUnit
  int32_t* lengths = nullptr;        // [sequences]
  int32_t* ends_of_pages = nullptr;  // [sequences]
};

__device__ __forceinline__ int32_t SelectedPages(const AttendArgs& call, int sequence) {
  return call.selection.counts == nullptr ? -1 : call.selection.counts[sequence];
}

/// Has L2 fetch what the look-up will read, while the launch before this one may still write it:
/// nothing is read here. All threads of the block.
__device__ __forceinline__ void PrefetchTables(const AttendArgs& call) {
  constexpr int kLine = 32;  // entries of 4 bytes
  const auto thread = static_cast<int>(threadIdx.x);
  const int sequences = call.shape.sequences;
  for (int s = thread; s < sequences; s += static_cast<int>(blockDim.x)) {
    ptx::PrefetchL2(call.lengths + s);
    ptx::PrefetchL2(call.query + s * call.query_stride);
  }
  if (kLine * thread < sequences * call.cache.pages_per_sequence)
    ptx::PrefetchL2(call.cache.block_table + kLine * thread);
}

/// Fills the tables; all threads of the block. RETURNS: units of all sequences and heads.
__device__ __forceinline__ int32_t CountUnits(const AttendArgs& call, const UnitTables& tables) {
  const int sequences = call.shape.sequences;
  for (int s = static_cast<int>(threadIdx.x); s < sequences; s += static_cast<int>(blockDim.x)) {
    const int32_t length = call.lengths[s];
    const int32_t end_of_pages = EndOfPages(call.scheme.window, length);
    tables.lengths[s] = length;
    tables.ends_of_pages[s] = end_of_pages;
    tables.starts[s + 1] =
        UnitsOf(call.scheme, call.visible, length, end_of_pages, SelectedPages(call, s)).size();
  }
  __syncthreads();
  if (threadIdx.x < 32) {
    int32_t total = 0;
    if (threadIdx.x == 0) tables.starts[0] = 0;
#pragma unroll 1
    for (int first = 0; first < sequences; first += 32) {
      const int s = first + static_cast<int>(threadIdx.x);
      int32_t sum = s < sequences ? tables.starts[s + 1] : 0;
#pragma unroll
      for (int step = 1; step < 32; step *= 2) {
        const int32_t before = __shfl_up_sync(0xffffffffU, sum, step);
        if (static_cast<int>(threadIdx.x) >= step) sum += before;
      }
      if (s < sequences) tables.starts[s + 1] = total + sum;
      total += __shfl_sync(0xffffffffU, sum, 31);
    }
  }
  __syncthreads();
  return tables.starts[sequences] * call.shape.kv.kv_heads;
}

/// One unit as a warp handles it.
struct Unit {
  int32_t segment;  // sequence * kv_heads + head
  int32_t page;     // of its pool, * kv_heads + head
  uint32_t bits;    // the fields below

  [[nodiscard]] __device__ __forceinline__ int front() const { return Field(0); }
  [[nodiscard]] __device__ __forceinline__ int back() const { return Field(7); }
  [[nodiscard]] __device__ __forceinline__ int end() const { return Field(14); }
  [[nodiscard]] __device__ __forceinline__ int slab_of_page() const {
    return static_cast<int>(bits >> 21 & 3U);
  }
  [[nodiscard]] __device__ __forceinline__ bool slab() const { return (bits >> 23 & 1U) != 0; }
  [[nodiscard]] __device__ __forceinline__ bool window() const { return (bits >> 24 & 1U) != 0; }
  /// Of its sequence and head.
  [[nodiscard]] __device__ __forceinline__ bool first() const { return (bits >> 25 & 1U) != 0; }
  [[nodiscard]] __device__ __forceinline__ bool last() const { return (bits >> 26 & 1U) != 0; }

 private:
  [[nodiscard]] __device__ __forceinline__ int Field(int shift) const {
    return static_cast<int>(bits >> shift & 0x7fU);
  }
};

/// WindowPageOf in 32 bits.
__device__ __forceinline__ int32_t RingPlace(const KvWindow& window, int32_t token) {
  if (token < window.sink) return token / kPageTokens;
  return window.sink / kPageTokens +
         static_cast<int32_t>(static_cast<uint32_t>(token - window.sink) / kPageTokens %
                              static_cast<uint32_t>(RingPages(window)));
}

__device__ __forceinline__ Unit FindUnit(const AttendArgs& call, const UnitTables& tables,
                                         int32_t number) {
  const int heads = call.shape.kv.kv_heads;
  const UnitPlace place = PlaceOfUnit(tables.starts, call.shape.sequences, heads, number);
  const int32_t s = place.sequence;
  const UnitSource source = SourceOf(
      call.scheme, call.visible, tables.lengths[s], tables.ends_of_pages[s], SelectedPages(call, s),
      place.number,
      [&](int32_t k) { return call.selection.pages[s * call.selection.pages_per_sequence + k]; });
  const int64_t row = s;
  const int32_t page =
      source.window
          ? call.cache.window_table[row * WindowPages(call.scheme.window) +
                                    RingPlace(call.scheme.window, source.token)]
          : call.cache
                .block_table[row * call.cache.pages_per_sequence + source.token / kPageTokens];
  const uint32_t bits =
      static_cast<uint32_t>(source.front) | static_cast<uint32_t>(source.back) << 7 |
      static_cast<uint32_t>(source.end) << 14 |
      static_cast<uint32_t>(source.token / kSlabTokens % 4) << 21 |
      static_cast<uint32_t>(source.slab) << 23 | static_cast<uint32_t>(source.window) << 24 |
      static_cast<uint32_t>(place.number == 0) << 25 |
      static_cast<uint32_t>(place.number + 1 == place.of) << 26;
  return {s * heads + place.head, page * heads + place.head, bits};
}

/// The units [first, first + count) of a warp, 32 looked up at a time, one by each lane, and the
/// next 32 ahead of their turn.
class UnitQueue {
 public:
  __device__ __forceinline__ UnitQueue(const AttendArgs& call, const UnitTables& tables,
                                       int32_t first, int32_t count)
      : call_(call), tables_(tables), first_(first), count_(count), earlier_{}, latest_{} {}

  /// REQUIRES: before Peek(j), Advance(i) for i = 0, 1, .. up to one with i <= j < i + 32.
  __device__ __forceinline__ void Advance(int32_t i) {
    while (found_ < count_ && found_ <= i + 32) {
      earlier_ = latest_;
      latest_ = FindUnit(call_, tables_, first_ + Least(found_ + Lane(), count_ - 1));
      found_ += 32;
    }
  }
  [[nodiscard]] __device__ __forceinline__ Unit Peek(int32_t j) const {
    const bool latest = j >= found_ - 32;
    return {
        Of(latest ? latest_.segment : earlier_.segment, j),
        Of(latest ? latest_.page : earlier_.page, j),
        static_cast<uint32_t>(Of(static_cast<int32_t>(latest ? latest_.bits : earlier_.bits), j))};
  }

 private:
  [[nodiscard]] __device__ __forceinline__ static int32_t Lane() {
    return static_cast<int32_t>(threadIdx.x % 32);
  }
  [[nodiscard]] __device__ __forceinline__ static int32_t Of(int32_t value, int32_t j) {
    return __shfl_sync(0xffffffffU, value, j % 32);
  }

  const AttendArgs& call_;
  const UnitTables& tables_;
  int32_t first_;
  int32_t count_;
  int32_t found_ = 0;
  Unit earlier_;  // found_ - 64 .. found_ - 33
  Unit latest_;   // found_ - 32 .. found_ - 1
};

/// A warp's ring of slots; one lane requests.
struct UnitRing {
  uint8_t* slots;
  uint64_t* full;
  uint64_t policy;
};

__device__ __forceinline__ void RequestPart(const PartLayout& own, const PartLayout& codes,
                                            const PartLayout& staged, const uint8_t* own_page,
                                            const uint8_t* code_page, uint8_t* slot, uint64_t* full,
                                            uint64_t policy) {
  if (staged.code_bytes > 0)
    ptx::BulkCopy(slot + staged.codes, code_page + codes.codes,
                  static_cast<uint32_t>(staged.code_bytes), full, policy);
  if (own.metadata_bytes > 0)
    ptx::BulkCopy(slot + staged.scales, own_page + own.scales,
                  static_cast<uint32_t>(own.metadata_bytes), full, policy);
}

/// Starts the copies of a unit into slot `at`; one lane.
__device__ __forceinline__ void Request(const KernelArgs& args, const UnitRing& ring,
                                        const Unit& unit, int at) {
  const KvCache& cache = args.call.cache;
  const int head_dim = args.call.shape.kv.head_dim;
  uint8_t* const slot = ring.slots + at * args.block.slot_bytes;
  uint64_t* const full = &ring.full[at];
  const int64_t page = unit.page;
  if (unit.slab()) {
    const int32_t bytes = kSlabTokens * head_dim * 2;
    const int32_t part = kPageTokens * head_dim * 2;
    const uint8_t* const from = (unit.window() ? cache.window : cache.pages) + page * (2 * part) +
                                unit.slab_of_page() * bytes;
    ptx::BarrierArriveExpect(full, static_cast<uint32_t>(2 * bytes));
    ptx::BulkCopy(slot, from, static_cast<uint32_t>(bytes), full, ring.policy);
    ptx::BulkCopy(slot + bytes, from + part, static_cast<uint32_t>(bytes), full, ring.policy);
    return;
  }
  const PartLayout& last = args.staged.values;
  const auto bytes = static_cast<uint32_t>(last.scales + last.metadata_bytes);
  const uint8_t* const own = cache.pages + page * args.layout.page_bytes;
  ptx::BarrierArriveExpect(full, bytes);
  const KvScheme& scheme = args.call.scheme;
  if (!scheme.keys.shares_codes && !scheme.values.shares_codes)
    return ptx::BulkCopy(slot, own, bytes, full, ring.policy);
  const uint8_t* const other = cache.code_pages + page * cache.code_layout.page_bytes;
  RequestPart(
      args.layout.keys, scheme.keys.shares_codes ? cache.code_layout.keys : args.layout.keys,
      args.staged.keys, own, scheme.keys.shares_codes ? other : own, slot, full, ring.policy);
  RequestPart(args.layout.values,
              scheme.values.shares_codes ? cache.code_layout.values : args.layout.values,
              args.staged.values, own, scheme.values.shares_codes ? other : own, slot, full,
              ring.policy);
}

}  // namespace moecast::kernels
