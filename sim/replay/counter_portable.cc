// The counting loops on 64-bit words, for any CPU.
#include "sim/replay/counter_kernels.h"

namespace moecast {
namespace {

/// Four lanes of 16 bits in a word. Sums of lanes never carry into the next: counts fit
/// (kMaxPlanes).
struct Words64 {
  using Word = uint64_t;
  static constexpr Word kLow = 0x0001000100010001;  // the lowest bit of each lane

  static Word Load(const void* from) {
    Word word = 0;
    __builtin_memcpy(&word, from, sizeof(word));
    return word;
  }
  static void Store(void* to, Word word) { __builtin_memcpy(to, &word, sizeof(word)); }
  static Word Zero() { return 0; }
  static Word Splat16(uint16_t value) { return kLow * value; }
  static Word And(Word a, Word b) { return a & b; }
  static Word Or(Word a, Word b) { return a | b; }
  static Word Xor(Word a, Word b) { return a ^ b; }
  static Word Xor3(Word a, Word b, Word c) { return a ^ b ^ c; }
  static Word Majority(Word a, Word b, Word c) { return (a & b) | (c & (a ^ b)); }
  static Word Add16(Word a, Word b) { return a + b; }
  static Word ShiftLeft16(Word a, int by) { return a << by; }
  static Word ShiftRight16(Word a, int by) { return (a >> by) & (kLow * (0xffffU >> by)); }
  static Word Popcount16(Word a) {
    a -= (a >> 1) & (kLow * 0x5555);
    a = (a & (kLow * 0x3333)) + ((a >> 2) & (kLow * 0x3333));
    a = (a + (a >> 4)) & (kLow * 0x0f0f);
    return (a + (a >> 8)) & (kLow * 0x00ff);
  }
  static void MaximumStep(Word& candidates, Word& maximum, Word plane, Word bit) {
    const Word kept = candidates & plane;
    const Word high = ((kept & (kLow * 0x7fff)) + (kLow * 0x7fff)) | kept;  // bit 15: lane not zero
    const Word lanes = ((high >> 15) & kLow) * 0xffff;
    candidates = kept | (candidates & ~lanes);
    maximum |= lanes & bit;
  }

  struct Sixteen {
    uint32_t counts[16];
  };
  static Sixteen LoadCounts(const uint32_t* from) {
    Sixteen sixteen{};
    __builtin_memcpy(sixteen.counts, from, sizeof(sixteen.counts));
    return sixteen;
  }
  static void StoreCounts(uint32_t* to, const Sixteen& sixteen) {
    __builtin_memcpy(to, sixteen.counts, sizeof(sixteen.counts));
  }
  static void AddBits(Sixteen& sixteen, uint16_t bits, uint32_t weight) {
    for (int i = 0; i < 16; ++i) sixteen.counts[i] += ((bits >> i) & 1U) * weight;
  }
};

constexpr CounterKernels kKernels = CounterLoops<Words64>::Kernels("portable");

}  // namespace

const CounterKernels& PortableCounterKernels() { return kKernels; }

}  // namespace moecast
