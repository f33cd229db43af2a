// A block's share of the work: which pages it reads, in order. The units of split_plan.h are pages
// here, its KV heads one.
#pragma once

#include <cstdint>

#include "kernels/ops/attend/split_plan.h"
#include "kernels/ops/mla/attend_mla.h"

namespace moecast::kernels::mla {

constexpr uint32_t kWarp = 0xffffffffU;

// Rounded up.
__device__ __forceinline__ int Quotient(int a, int b) { return (a + b - 1) / b; }
__device__ __forceinline__ int UnitsOfLength(int length) { return Quotient(length, kPageTokens); }

// All units, and how blocks share them.
struct Split {
  int32_t units = 0;
  int32_t blocks = 0;  // that take part
  int32_t first = 0;   // units of this block
  int32_t end = 0;
};

// The units of one sequence that one block has.
struct Part {
  int32_t sequence = 0;
  int32_t length = 0;  // of the sequence in tokens
  // Units of the whole sequence in the row of all units.
  int32_t begin = 0;
  int32_t end = 0;

  [[nodiscard]] __device__ int Units(const Split& split) const {
    return min(end, split.end) - max(begin, split.first);
  }
  // Tokens that the sequence has from the part's unit `unit` on.
  [[nodiscard]] __device__ int TokensFrom(const Split& split, int unit) const {
    return length - (max(begin, split.first) - begin + unit) * kPageTokens;
  }
};

// REQUIRES: a whole warp.
__device__ inline int32_t CountUnits(const AttendMlaArgs& args) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  int32_t units = 0;
#pragma unroll 4
  for (int s = lane; s < args.shape.sequences; s += 32) units += UnitsOfLength(args.lengths[s]);
#pragma unroll
  for (int step = 16; step > 0; step /= 2) units += __shfl_xor_sync(kWarp, units, step);
  return units;
}

// As few blocks as make no share larger: sequences then more often end where a block does.
__device__ inline Split SplitFor(int32_t units, int most_blocks, int block) {
  const int32_t share = max(Quotient(units, most_blocks), 1);
  Split split{.units = units, .blocks = Quotient(units, share)};
  if (block >= split.blocks) return split;
  split.first = ShareStart(units, split.blocks, block);
  split.end = ShareStart(units, split.blocks, block + 1);
  return split;
}

// One warp's walk through its block's units. Table entries of up to 32 units of a sequence are read
// at once, one by each lane.
class UnitWalk {
 public:
  // REQUIRES: a whole warp, split.first < split.end.
  __device__ UnitWalk(const AttendMlaArgs& args, const Split& split)
      : args_(args), first_(split.first), last_(split.end), unit_(split.first) {
    while (end_ <= unit_) NextSequence(32);
    ReadPages();
  }

  [[nodiscard]] __device__ bool AtEnd() const { return unit_ == last_; }
  [[nodiscard]] __device__ bool BeginsPart() const { return unit_ == max(begin_, first_); }
  [[nodiscard]] __device__ int PartNumber() const { return part_; }
  [[nodiscard]] __device__ Part CurrentPart() const { return {sequence_, length_, begin_, end_}; }

  // Page of the unit that is `ahead` of this one, -1: not known yet.
  [[nodiscard]] __device__ int32_t PageAhead(int ahead) const {
    const int at = unit_ + ahead - batch_;
    const int32_t page = __shfl_sync(kWarp, page_, at % 32);
    return at < 32 && unit_ + ahead < min(end_, last_) ? page : -1;
  }

  __device__ void Advance() {
    if (++unit_ == last_) return;
    if (unit_ == end_) {
      ++part_;
      while (end_ <= unit_) NextSequence(1);
      ReadPages();
    } else if (unit_ == batch_ + 32) {
      ReadPages();
    }
  }

 private:
  // Goes on by sequences whose units all lie before unit_, by at most `most` and at least one.
  __device__ void NextSequence(int most) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const int first = sequence_ + 1;
    const int candidate = min(first + lane, args_.shape.sequences - 1);
    const int length = lane < most ? args_.lengths[candidate] : 0;
    int upto = lane < most ? UnitsOfLength(length) : 0;
    const int own = upto;
#pragma unroll
    for (int step = 1; step < 32; step *= 2) {
      const int left = __shfl_up_sync(kWarp, upto, step);
      if (lane >= step) upto += left;
    }
    const uint32_t beyond = __ballot_sync(kWarp, end_ + upto > unit_);
    const int owner = beyond != 0 ? __ffs(static_cast<int>(beyond)) - 1 : most - 1;
    begin_ = end_ + __shfl_sync(kWarp, upto - own, owner);
    end_ += __shfl_sync(kWarp, upto, owner);
    length_ = __shfl_sync(kWarp, length, owner);
    sequence_ = first + owner;
  }

  __device__ void ReadPages() {
    batch_ = unit_;
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const int64_t row = static_cast<int64_t>(sequence_) * args_.cache.pages_per_sequence;
    page_ = args_.cache.block_table[row + min(unit_ + lane, end_ - 1) - begin_];
  }

  const AttendMlaArgs& args_;
  const int32_t first_;  // of this block, and behind its last
  const int32_t last_;
  int32_t unit_;
  int32_t part_ = 0;
  int32_t sequence_ = -1;
  int32_t length_ = 0;
  int32_t begin_ = 0;  // units of the sequence
  int32_t end_ = 0;
  int32_t batch_ = 0;  // unit whose page lane 0 holds
  int32_t page_ = 0;
};

}  // namespace moecast::kernels::mla
