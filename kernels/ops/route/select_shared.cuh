// Shared memory of one block of the selection, and the share of the batch that the block has.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "kernels/ops/route/gate.cuh"

namespace moecast::kernels::route {

inline constexpr int kSelectWarps = 16;
inline constexpr int kSelectThreads = kSelectWarps * 32;
/// Up to this many tokens one block does it all.
inline constexpr int kOneBlockTokens = kSelectWarps;
inline constexpr int kSelectCluster = 8;
inline constexpr int kSetWords = 16;  // kMaxExperts bits
static_assert(kSelectThreads >= 512, "a thread per expert");

__host__ __device__ constexpr int SelectBlocks(int tokens) {
  return tokens <= kOneBlockTokens ? 1 : kSelectCluster;
}
/// Elements that a lane has of a token's experts.
__host__ __device__ constexpr int PerLane(int experts) {
  return experts <= 64 ? 2 : experts <= 128 ? 4 : experts <= 256 ? 8 : 16;
}
/// Tokens of one block of a cluster, a contiguous run; the last blocks may have fewer or none.
__host__ __device__ constexpr int TokenShare(int tokens) {
  const int blocks = SelectBlocks(tokens);
  return (tokens + blocks - 1) / blocks;
}

struct SelectShared {
  unsigned long long* utility;  // [E] summed scores, fixed point
  unsigned* token_bits;         // [E][words] which of the block's tokens take the expert
  unsigned* rows;               // [E] how many do
  unsigned* first_row;          // [E] of this block's rows of the expert
  unsigned* warp_totals;        // [kSelectWarps]
  unsigned* best_bits;          // [kSetWords] experts that this block's tokens put into the set
  unsigned* set_bits;           // [kSetWords] the batch's set
  float* score_rows;            // [kSelectWarps][row]
  float* weights;               // [share * k] of each slot
  uint16_t* chosen;             // [share * k] expert of each slot, or E
  int words;                    // of token_bits
  int row;                      // elements of a score row
  size_t bytes;                 // of all

  /// Lays the arrays out from `base` for `share` tokens of the block; with a null base only `bytes`
  /// means anything.
  __host__ __device__ static SelectShared At(unsigned char* base, const ExpertShape& shape,
                                             int share, int row_elements) {
    SelectShared shared{};
    const auto experts = static_cast<size_t>(LogitPitch(shape.experts));
    shared.words = (share + 31) / 32;
    shared.row = row_elements;
    size_t at = 0;
    const auto take = [&](auto*& array, size_t count) {
      using Element = std::remove_reference_t<decltype(*array)>;
      array = reinterpret_cast<Element*>(base + at);
      at += (count * sizeof(Element) + 15) / 16 * 16;
    };
    take(shared.utility, experts);
    take(shared.token_bits, experts * static_cast<size_t>(shared.words));
    take(shared.rows, experts);
    take(shared.first_row, experts);
    take(shared.warp_totals, kSelectWarps);
    take(shared.best_bits, kSetWords);
    take(shared.set_bits, kSetWords);
    take(shared.score_rows, static_cast<size_t>(kSelectWarps) * static_cast<size_t>(row_elements));
    take(shared.weights, static_cast<size_t>(share) * static_cast<size_t>(shape.top_k));
    take(shared.chosen, static_cast<size_t>(share) * static_cast<size_t>(shape.top_k));
    shared.bytes = at;
    return shared;
  }
};

}  // namespace moecast::kernels::route
