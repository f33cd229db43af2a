// The counting loops with AVX-512 BW and BITALG. Compiled for them; reached only on CPUs that have
// them.
#include <immintrin.h>

#include "sim/replay/counter_kernels.h"

namespace moecast {
namespace {

struct Avx512 {
  using Word = __m512i;
  static constexpr int kXor3 = 0x96;  // truth tables of vpternlogq
  static constexpr int kMajority = 0xe8;

  static Word Load(const void* from) { return _mm512_loadu_si512(from); }
  static void Store(void* to, Word word) { _mm512_storeu_si512(to, word); }
  static Word Zero() { return _mm512_setzero_si512(); }
  static Word Splat16(uint16_t value) { return _mm512_set1_epi16(static_cast<int16_t>(value)); }
  static Word And(Word a, Word b) { return _mm512_and_si512(a, b); }
  static Word Or(Word a, Word b) { return _mm512_or_si512(a, b); }
  static Word Xor(Word a, Word b) { return _mm512_xor_si512(a, b); }
  static Word Xor3(Word a, Word b, Word c) { return _mm512_ternarylogic_epi64(a, b, c, kXor3); }
  static Word Majority(Word a, Word b, Word c) {
    return _mm512_ternarylogic_epi64(a, b, c, kMajority);
  }
  static Word Add16(Word a, Word b) { return _mm512_add_epi16(a, b); }
  static Word ShiftLeft16(Word a, int by) { return _mm512_sll_epi16(a, _mm_cvtsi32_si128(by)); }
  static Word ShiftRight16(Word a, int by) { return _mm512_srl_epi16(a, _mm_cvtsi32_si128(by)); }
  static Word Popcount16(Word a) { return _mm512_popcnt_epi16(a); }
  static void MaximumStep(Word& candidates, Word& maximum, Word plane, Word bit) {
    const __mmask32 lanes = _mm512_test_epi16_mask(candidates, plane);
    candidates = _mm512_mask_mov_epi16(candidates, lanes, And(candidates, plane));
    maximum = _mm512_mask_add_epi16(maximum, lanes, maximum, bit);
  }

  using Sixteen = Word;
  static Sixteen LoadCounts(const uint32_t* from) { return Load(from); }
  static void StoreCounts(uint32_t* to, Sixteen sixteen) { Store(to, sixteen); }
  static void AddBits(Sixteen& sixteen, uint16_t bits, uint32_t weight) {
    const Word weights = _mm512_set1_epi32(static_cast<int>(weight));
    sixteen = _mm512_mask_add_epi32(sixteen, bits, sixteen, weights);
  }
};

constexpr CounterKernels kKernels = CounterLoops<Avx512>::Kernels("avx512");

}  // namespace

const CounterKernels* Avx512CounterKernels() {
  const bool supported =
      __builtin_cpu_supports("avx512bw") != 0 && __builtin_cpu_supports("avx512bitalg") != 0;
  return supported ? &kKernels : nullptr;
}

}  // namespace moecast
