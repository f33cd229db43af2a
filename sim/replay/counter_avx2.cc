// The counting loops with AVX2. Compiled with -mavx2; reached only on CPUs that have it.
#include <immintrin.h>

#include "sim/replay/counter_kernels.h"

namespace moecast {
namespace {

struct Avx2 {
  using Word = __m256i;

  static Word Load(const void* from) { return _mm256_loadu_si256(static_cast<const Word*>(from)); }
  static void Store(void* to, Word word) { _mm256_storeu_si256(static_cast<Word*>(to), word); }
  static Word Zero() { return _mm256_setzero_si256(); }
  static Word Splat16(uint16_t value) { return _mm256_set1_epi16(static_cast<int16_t>(value)); }
  static Word And(Word a, Word b) { return _mm256_and_si256(a, b); }
  static Word Or(Word a, Word b) { return _mm256_or_si256(a, b); }
  static Word Xor(Word a, Word b) { return _mm256_xor_si256(a, b); }
  static Word Xor3(Word a, Word b, Word c) { return Xor(Xor(a, b), c); }
  static Word Majority(Word a, Word b, Word c) { return Or(And(a, b), And(c, Xor(a, b))); }
  static Word Add16(Word a, Word b) { return _mm256_add_epi16(a, b); }
  static Word ShiftLeft16(Word a, int by) { return _mm256_sll_epi16(a, _mm_cvtsi32_si128(by)); }
  static Word ShiftRight16(Word a, int by) { return _mm256_srl_epi16(a, _mm_cvtsi32_si128(by)); }
  /// Table look-up of each half byte, then the sum of a lane's two bytes. [Mula18 3.2]
  static Word Popcount16(Word a) {
    const Word table = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4,  //
                                        0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
    const Word half = _mm256_set1_epi8(0x0f);
    const Word bytes =
        _mm256_add_epi8(_mm256_shuffle_epi8(table, And(a, half)),
                        _mm256_shuffle_epi8(table, And(_mm256_srli_epi16(a, 4), half)));
    return _mm256_maddubs_epi16(bytes, _mm256_set1_epi8(1));
  }
  static void MaximumStep(Word& candidates, Word& maximum, Word plane, Word bit) {
    const Word kept = And(candidates, plane);
    const Word zero_lanes = _mm256_cmpeq_epi16(kept, Zero());
    candidates = Or(kept, And(candidates, zero_lanes));
    maximum = Or(maximum, _mm256_andnot_si256(zero_lanes, bit));
  }

  struct Sixteen {
    Word low;
    Word high;
  };
  static Sixteen LoadCounts(const uint32_t* from) { return {Load(from), Load(from + 8)}; }
  static void StoreCounts(uint32_t* to, const Sixteen& sixteen) {
    Store(to, sixteen.low);
    Store(to + 8, sixteen.high);
  }
  static void AddBits(Sixteen& sixteen, uint16_t bits, uint32_t weight) {
    const Word low = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    const Word high = _mm256_slli_epi32(low, 8);
    const Word all = _mm256_set1_epi32(bits);
    const Word weights = _mm256_set1_epi32(static_cast<int>(weight));
    const Word in_low = _mm256_cmpeq_epi32(And(all, low), low);
    const Word in_high = _mm256_cmpeq_epi32(And(all, high), high);
    sixteen.low = _mm256_add_epi32(sixteen.low, And(in_low, weights));
    sixteen.high = _mm256_add_epi32(sixteen.high, And(in_high, weights));
  }
};

constexpr CounterKernels kKernels = CounterLoops<Avx2>::Kernels("avx2");

}  // namespace

const CounterKernels* Avx2CounterKernels() {
  return __builtin_cpu_supports("avx2") != 0 ? &kKernels : nullptr;
}

}  // namespace moecast
