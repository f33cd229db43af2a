// The loops with AVX2 and BMI2. Compiled for both; reached only on CPUs that have them.
//
// A token's experts at a layer are known in two orders: by rank (ids, weights) and by id (the bits
// of `ranked`). What a rule decides by rank becomes a mask of 16 bytes; `order` shuffles it, or is
// compared with its last rank, and gives one bit per expert by id; PDEP puts those where the
// experts are. No branch depends on what is chosen.
#include <immintrin.h>

#include "sim/policy/experts/expert_set_loops.h"

namespace moecast {
namespace {

struct Avx2 {};
using Code = ExpertSetCode<Avx2>;

constexpr int64_t kVectorRanks = 16;
constexpr int64_t kMostExperts = 256;

/// Where the cells of a shape lie, for sets of kWords words of 64 experts.
template <int kWords>
struct Cells {
  explicit Cells(const RankedShape& shape)
      : rank_stride(shape.rank_stride()), bytes(shape.cell_bytes()) {
    for (int64_t w = 0; w < kWords; ++w) {
      const int64_t bits = 8 * bytes - 64 * w;
      mask[w] = bits >= 64 ? ~uint64_t{0} : bits > 0 ? (uint64_t{1} << bits) - 1 : 0;
    }
  }
  int64_t rank_stride;
  int64_t bytes;               // of a cell of a bit row
  uint64_t mask[kWords] = {};  // its own bits among the words that are read
};

inline uint64_t LoadWord(const char* from) {
  uint64_t word = 0;
  __builtin_memcpy(&word, from, sizeof(word));
  return word;
}

/// Writes the experts of one cell: bit i of `kept` is the i-th of `ranked` by id. Words past the
/// cell are written as zeros, so cells are written in order.
template <int kWords>
inline void WriteCell(uint32_t kept, const char* ranked, const uint64_t* set,
                      const Cells<kWords>& cells, char* chosen) {
  for (int64_t w = 0; w < kWords; ++w) {
    const uint64_t word = LoadWord(ranked + 8 * w) & cells.mask[w];
    uint64_t bits = _pdep_u64(kept, word);
    if (set != nullptr) bits &= set[w];
    __builtin_memcpy(chosen + 8 * w, &bits, sizeof(bits));
    if (w + 1 < kWords) kept >>= __builtin_popcountll(word);
  }
}

/// Bit r: whether ids[r] is no member, of 16 ids.
template <int kWords>
inline uint32_t OutsiderMask(const uint16_t* ids, const uint64_t* set, __m128i experts) {
  const __m128i low = _mm_loadu_si128(reinterpret_cast<const __m128i*>(set));
  const __m128i first = _mm_loadu_si128(reinterpret_cast<const __m128i*>(ids));
  const __m128i second = _mm_loadu_si128(reinterpret_cast<const __m128i*>(ids + 8));
  const __m128i id = _mm_packus_epi16(first, second);
  const __m128i byte = _mm_and_si128(_mm_srli_epi16(id, 3), _mm_set1_epi8(0x0f));
  __m128i members = _mm_shuffle_epi8(low, byte);
  if constexpr (kWords > 2) {
    const __m128i high = _mm_loadu_si128(reinterpret_cast<const __m128i*>(set + 2));
    members = _mm_blendv_epi8(members, _mm_shuffle_epi8(high, byte), id);
  }
  const __m128i powers = _mm_setr_epi8(1, 2, 4, 8, 16, 32, 64, -128, 1, 2, 4, 8, 16, 32, 64, -128);
  // Of 128 experts and fewer the id 128 means none: its high bit makes the power 0.
  const __m128i low_bits = _mm_set1_epi8(kWords > 2 ? 0x07 : static_cast<char>(0x87));
  const __m128i power = _mm_shuffle_epi8(powers, _mm_and_si128(id, low_bits));
  __m128i outside = _mm_cmpeq_epi8(_mm_and_si128(members, power), _mm_setzero_si128());
  if constexpr (kWords > 2) {  // of 256 experts the id that means none was packed as the last one
    const __m128i known =
        _mm_packs_epi16(_mm_cmpgt_epi16(experts, first), _mm_cmpgt_epi16(experts, second));
    outside = _mm_or_si128(outside, _mm_cmpeq_epi8(known, _mm_setzero_si128()));
  }
  return static_cast<uint32_t>(_mm_movemask_epi8(outside));
}

template <int kWords>
void TakeRows(const TakeJob& job) {
  const Cells<kWords> cells(job.shape);
  const uint32_t ranks = (uint32_t{1} << job.limit.ranks) - 1;
  const uint32_t last_rank = uint32_t{1} << (job.limit.ranks - 1);
  const __m128i experts = _mm_set1_epi16(static_cast<int16_t>(job.shape.experts));
  const uint32_t last_taken = uint32_t{1} << (job.limit.take - 1);
  for (uint64_t token = 0; token < job.rows.size(); ++token) {
    const RankedRow& row = job.rows[token];
    const uint16_t* ids = row.ids;
    const uint8_t* order = row.order;
    const auto* ranked = reinterpret_cast<const char*>(row.ranked);
    auto* chosen = reinterpret_cast<char*>(job.chosen[token]);
    const uint64_t* set = job.sets;
    for (int64_t layer = 0; layer < job.shape.moe_layers; ++layer) {
      const uint32_t members = ~OutsiderMask<kWords>(ids, set, experts) & ranks;
      // The rank behind the last one taken; behind the last one looked at when fewer are members.
      const uint32_t end = _tzcnt_u32(_pdep_u32(last_taken, members) | last_rank) + 1;
      const __m128i by_id = _mm_loadu_si128(reinterpret_cast<const __m128i*>(order));
      const __m128i before = _mm_cmpgt_epi8(_mm_set1_epi8(static_cast<char>(end)), by_id);
      WriteCell<kWords>(static_cast<uint32_t>(_mm_movemask_epi8(before)), ranked, set, cells,
                        chosen);
      ids += cells.rank_stride;
      order += cells.rank_stride;
      ranked += cells.bytes;
      chosen += cells.bytes;
      set += job.set_words;
    }
  }
}

/// The ranks of 8 whose weight is above the threshold, or a tie that is due, as bytes by rank.
inline __m128i AboveMask(const uint16_t* weights, uint16_t threshold, __m128i ranks,
                         int64_t& ties) {
  const __m128i all = _mm_loadu_si128(reinterpret_cast<const __m128i*>(weights));
  const __m128i weight = _mm_and_si128(all, ranks);
  const __m128i bound = _mm_set1_epi16(static_cast<int16_t>(threshold));
  const __m128i not_above = _mm_cmpeq_epi16(_mm_subs_epu16(weight, bound), _mm_setzero_si128());
  __m128i above = _mm_andnot_si128(not_above, _mm_set1_epi8(-1));
  const __m128i equal = _mm_cmpeq_epi16(weight, bound);
  if (ties > 0 && _mm_movemask_epi8(equal) != 0) {
    constexpr uint32_t kEveryOther = 0x5555;
    const auto lanes = _pext_u32(static_cast<uint32_t>(_mm_movemask_epi8(equal)), kEveryOther);
    const uint32_t due = ties >= 8 ? lanes : _pdep_u32((uint32_t{1} << ties) - 1, lanes);
    ties -= __builtin_popcount(due);
    const __m128i powers = _mm_setr_epi16(1, 2, 4, 8, 16, 32, 64, 128);
    const __m128i picked = _mm_and_si128(_mm_set1_epi16(static_cast<int16_t>(due)), powers);
    above = _mm_or_si128(above, _mm_cmpeq_epi16(picked, powers));
  }
  return _mm_packs_epi16(above, _mm_setzero_si128());
}

template <int kWords>
void AboveRows(const AboveJob& job) {
  const Cells<kWords> cells(job.shape);
  alignas(16) uint16_t own[8];
  for (int64_t r = 0; r < 8; ++r) own[r] = r < job.shape.top_k ? 0xffff : 0;
  const __m128i ranks = _mm_load_si128(reinterpret_cast<const __m128i*>(own));
  for (uint64_t token = 0; token < job.rows.size(); ++token) {
    const RankedRow& row = job.rows[token];
    const uint16_t* weights = row.weights;
    const uint8_t* order = row.order;
    const auto* ranked = reinterpret_cast<const char*>(row.ranked);
    auto* chosen = reinterpret_cast<char*>(job.chosen[token]);
    for (int64_t layer = 0; layer < job.shape.moe_layers; ++layer) {
      const __m128i above = AboveMask(weights, job.thresholds[layer], ranks, job.ties[layer]);
      const __m128i by_id = _mm_loadu_si128(reinterpret_cast<const __m128i*>(order));
      const __m128i kept = _mm_shuffle_epi8(above, by_id);
      WriteCell<kWords>(static_cast<uint32_t>(_mm_movemask_epi8(kept)), ranked, nullptr, cells,
                        chosen);
      weights += cells.rank_stride;
      order += cells.rank_stride;
      ranked += cells.bytes;
      chosen += cells.bytes;
    }
  }
}

bool FitsVectors(const RankedShape& shape) {
  return shape.ranks <= kVectorRanks && shape.experts <= kMostExperts;
}

void Take(const TakeJob& job) {
  if (!FitsVectors(job.shape) || job.limit.take > kVectorRanks) return Code::Take(job);
  if (job.shape.experts <= 64) return TakeRows<1>(job);
  job.shape.experts <= 128 ? TakeRows<2>(job) : TakeRows<4>(job);
}

void Above(const AboveJob& job) {
  if (!FitsVectors(job.shape) || job.shape.top_k > 8) return Code::Above(job);
  if (job.shape.experts <= 64) return AboveRows<1>(job);
  job.shape.experts <= 128 ? AboveRows<2>(job) : AboveRows<4>(job);
}

/// How many of whole vectors of values are larger. REQUIRES: at most 2^15 vectors.
inline int64_t CountAboveVectors(const uint16_t* values, int64_t vectors, uint16_t than) {
  const __m256i bound = _mm256_set1_epi16(static_cast<int16_t>(than));
  __m256i not_above = _mm256_setzero_si256();  // counted down
#pragma GCC unroll 8
  for (int64_t v = 0; v < vectors; ++v) {
    const __m256i value =
        _mm256_loadu_si256(reinterpret_cast<const __m256i*>(values + v * kVectorRanks));
    not_above =
        _mm256_add_epi16(not_above, _mm256_cmpeq_epi16(_mm256_max_epu16(value, bound), bound));
  }
  const __m256i pairs = _mm256_madd_epi16(not_above, _mm256_set1_epi16(1));
  alignas(32) int32_t sums[8];
  _mm256_store_si256(reinterpret_cast<__m256i*>(sums), pairs);
  int64_t count = vectors * kVectorRanks;
  for (const int32_t sum : sums) count += sum;
  return count;
}

int64_t CountAbove16(const uint16_t* values, int64_t size, uint16_t than) {
  constexpr int64_t kMostVectors = (int64_t{1} << 15) - 1;
  int64_t count = 0;
  while (size >= kVectorRanks) {
    const int64_t whole = size / kVectorRanks;
    const int64_t vectors = whole < kMostVectors ? whole : kMostVectors;
    count += CountAboveVectors(values, vectors, than);
    values += vectors * kVectorRanks;
    size -= vectors * kVectorRanks;
  }
  for (int64_t i = 0; i < size; ++i) count += values[i] > than ? 1 : 0;
  return count;
}

uint32_t ThresholdByCount16(const uint16_t* values, int64_t size, int64_t wanted) {
  return Code::ThresholdByCounts16(values, size, wanted,
                                   [&](uint16_t than) { return CountAbove16(values, size, than); });
}

constexpr ExpertSetLoops kLoops = {
    Take, Above, Code::ThresholdByCount, Code::ThresholdBySum, ThresholdByCount16, CountAbove16};

}  // namespace

const ExpertSetLoops* Avx2ExpertSetLoops() {
  const bool supported =
      __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("bmi") != 0 &&
      __builtin_cpu_supports("bmi2") != 0 && __builtin_cpu_supports("popcnt") != 0;
  return supported ? &kLoops : nullptr;
}

}  // namespace moecast
