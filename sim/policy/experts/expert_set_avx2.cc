// The loops with AVX2 and BMI2. Compiled for both; reached only on CPUs that have them.
#include <immintrin.h>

#include "sim/policy/experts/expert_set_loops.h"

namespace moecast {
namespace {

struct Avx2 {};
using Code = ExpertSetCode<Avx2>;

constexpr int64_t kSetBytes = 32;  // 256 experts
constexpr int64_t kBlockRanks = 16;

/// One bit per member.
void PackMembers(const TakeJob& job) {
  const int64_t bytes = job.member_stride < 256 ? job.member_stride : 256;
  for (int64_t layer = 0; layer < job.moe_layers; ++layer) {
    const uint8_t* const members = job.members + layer * job.member_stride;
    uint8_t* const bits = job.member_bits + layer * kSetBytes;
    for (int64_t i = 0; i < kSetBytes; ++i) bits[i] = 0;
    for (int64_t i = 0; i + kBlockRanks <= bytes; i += kBlockRanks) {
      const __m128i block = _mm_loadu_si128(reinterpret_cast<const __m128i*>(members + i));
      const int mask = _mm_movemask_epi8(_mm_cmpgt_epi8(block, _mm_setzero_si128()));
      bits[i / 8] = static_cast<uint8_t>(mask);
      bits[i / 8 + 1] = static_cast<uint8_t>(mask >> 8);
    }
  }
}

/// Bit r: whether ids[r] is a member, of 16 ids.
inline uint32_t MemberMask(const uint16_t* ids, __m128i low, __m128i high, __m256i experts) {
  const __m256i wide = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(ids));
  const __m256i known = _mm256_cmpgt_epi16(experts, wide);
  const __m128i id =
      _mm_packus_epi16(_mm256_castsi256_si128(wide), _mm256_extracti128_si256(wide, 1));
  const __m128i valid =
      _mm_packs_epi16(_mm256_castsi256_si128(known), _mm256_extracti128_si256(known, 1));
  const __m128i byte = _mm_and_si128(_mm_srli_epi16(id, 3), _mm_set1_epi8(0x0f));
  const __m128i set =
      _mm_blendv_epi8(_mm_shuffle_epi8(low, byte), _mm_shuffle_epi8(high, byte), id);
  const __m128i powers = _mm_setr_epi8(1, 2, 4, 8, 16, 32, 64, -128, 1, 2, 4, 8, 16, 32, 64, -128);
  const __m128i bit = _mm_shuffle_epi8(powers, _mm_and_si128(id, _mm_set1_epi8(7)));
  const __m128i member = _mm_and_si128(_mm_cmpeq_epi8(_mm_and_si128(set, bit), bit), valid);
  return static_cast<uint32_t>(_mm_movemask_epi8(member));
}

/// One row of at most 16 ranks, any number of experts taken.
inline int64_t TakeBlock(const uint16_t* ids, uint32_t mask, int64_t left, uint32_t* counts) {
  // The lowest `left` of the set bits.
  if (left < kBlockRanks) mask = _pdep_u32((uint32_t{1} << left) - 1, mask);
  const int64_t taken = __builtin_popcount(mask);
  for (; mask != 0; mask &= mask - 1) ++counts[ids[__builtin_ctz(mask)]];
  return taken;
}

void TakeAny(const TakeJob& job) {
  const __m256i experts = _mm256_set1_epi16(static_cast<int16_t>(job.experts));
  const int64_t last_ranks = (job.ranks - 1) % kBlockRanks + 1;
  const uint32_t last_mask = (uint32_t{1} << last_ranks) - 1;
  const int64_t blocks = (job.ranks + kBlockRanks - 1) / kBlockRanks;
  for (int64_t token = 0; token < job.tokens; ++token) {
    for (int64_t layer = 0; layer < job.moe_layers; ++layer) {
      const uint16_t* ids = job.rows[token] + layer * job.rank_stride;
      const auto* const bits =
          reinterpret_cast<const __m128i*>(job.member_bits + layer * kSetBytes);
      const __m128i low = _mm_loadu_si128(bits);
      const __m128i high = _mm_loadu_si128(bits + 1);
      uint32_t* const counts = job.counts + layer * job.expert_stride;
      int64_t left = job.take;
      for (int64_t block = 0; block < blocks && left > 0; ++block, ids += kBlockRanks) {
        uint32_t mask = MemberMask(ids, low, high, experts);
        if (block + 1 == blocks) mask &= last_mask;
        left -= TakeBlock(ids, mask, left, counts);
      }
    }
  }
}

constexpr int64_t kMostPacked = 8;          // experts in one 64-bit word of bytes
constexpr uint64_t kNobody = ~uint64_t{0};  // the byte 255 is no expert of a layer of fewer

/// Bytes 0xff where the low 8 bits of `mask` are set.
inline uint64_t ByteMask(uint32_t mask) { return _pdep_u64(mask, 0x0101010101010101) * 0xff; }

/// The taken ids of 16, at most 8 of them, as bytes from the lowest; then 255s.
inline uint64_t PackTaken(const uint16_t* ids, uint32_t taken) {
  const __m256i wide = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(ids));
  const __m128i id =
      _mm_packus_epi16(_mm256_castsi256_si128(wide), _mm256_extracti128_si256(wide, 1));
  const auto first = static_cast<uint64_t>(_mm_cvtsi128_si64(id));
  const auto second = static_cast<uint64_t>(_mm_extract_epi64(id, 1));
  const uint64_t low = _pext_u64(first, ByteMask(taken & 0xff));
  const uint64_t high = _pext_u64(second, ByteMask(taken >> 8));
  const int low_bits = 8 * __builtin_popcount(taken & 0xff);
  const int all_bits = 8 * __builtin_popcount(taken);
  const uint64_t joined = low_bits == 64 ? low : low | high << low_bits;
  return all_bits == 64 ? joined : joined | kNobody << all_bits;
}

/// One block of ranks and at most 8 of fewer than 256 experts: as many additions whatever is taken,
/// so there is no branch that the processor could not foresee. Leaves `packed` as zeros.
void TakePacked(const TakeJob& job) {
  const __m256i experts = _mm256_set1_epi16(static_cast<int16_t>(job.experts));
  const uint32_t ranks = (uint32_t{1} << job.ranks) - 1;
  const uint32_t take = (uint32_t{1} << job.take) - 1;
  for (int64_t token = 0; token < job.tokens; ++token) {
    const uint16_t* ids = job.rows[token];
    const auto* bits = reinterpret_cast<const __m128i*>(job.member_bits);
    uint16_t* packed = job.packed;
    for (int64_t layer = 0; layer < job.moe_layers; ++layer) {
      const uint32_t mask =
          MemberMask(ids, _mm_loadu_si128(bits), _mm_loadu_si128(bits + 1), experts) & ranks;
      const uint64_t taken = PackTaken(ids, _pdep_u32(take, mask));
      ++packed[taken & 0xff];
      ++packed[taken >> 8 & 0xff];
      ++packed[taken >> 16 & 0xff];
      ++packed[taken >> 24 & 0xff];
      ++packed[taken >> 32 & 0xff];
      ++packed[taken >> 40 & 0xff];
      ++packed[taken >> 48 & 0xff];
      ++packed[taken >> 56];
      ids += job.rank_stride;
      bits += 2;
      packed += kPackedStride;
    }
  }
  for (int64_t layer = 0; layer < job.moe_layers; ++layer) {
    uint16_t* const packed = job.packed + layer * kPackedStride;
    uint32_t* const counts = job.counts + layer * job.expert_stride;
    for (int64_t e = 0; e < job.experts; ++e) counts[e] += packed[e];
    for (int64_t e = 0; e < kPackedStride; ++e) packed[e] = 0;
  }
}

/// Packed counts have 16 bits, so the tokens come in pieces.
void TakePieces(TakeJob job) {
  constexpr int64_t kPiece = 0xffff;
  const int64_t all = job.tokens;
  for (int64_t done = 0; done < all; done += kPiece) {
    job.tokens = all - done < kPiece ? all - done : kPiece;
    TakePacked(job);
    job.rows += job.tokens;
  }
}

void Take(const TakeJob& job) {
  if (job.experts > kPackedStride) return Code::Take(job);
  PackMembers(job);
  const bool packs =
      job.experts < kPackedStride && job.ranks <= kBlockRanks && job.take <= kMostPacked;
  packs ? TakePieces(job) : TakeAny(job);
}

constexpr ExpertSetLoops kLoops = {Take, Code::ThresholdByCount, Code::ThresholdBySum,
                                   Code::ThresholdByCount16};

}  // namespace

const ExpertSetLoops* Avx2ExpertSetLoops() {
  return __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("bmi2") != 0 ? &kLoops
                                                                                    : nullptr;
}

}  // namespace moecast
