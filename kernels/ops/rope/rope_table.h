// The angles of rotary position embedding, computed once on the host.
#pragma once

#include <cstdint>
#include <vector>

namespace moecast::kernels {

/// Which two elements of a head are rotated together.
enum class RopeStyle : int32_t {
  kNeox,         // i and i + rotary / 2
  kInterleaved,  // 2 i and 2 i + 1
};

struct RopeShape {
  int32_t tokens = 0;
  int32_t query_heads = 0;
  int32_t key_heads = 0;
  int32_t head = 0;    // elements of a head
  int32_t rotary = 0;  // the first of them that are rotated, even
  RopeStyle style = RopeStyle::kNeox;
  // Elements from one token to the next; 0: heads are packed. Multiples of 8.
  int64_t query_stride = 0;
  int64_t key_stride = 0;
};

/// base^(-2 i / rotary), [rotary / 2].                                               [Su21 Eq. 15]
std::vector<double> InverseFrequencies(double base, int32_t rotary);

/// Row p: scale * cos(p f_i) for i < rotary / 2, then scale * sin(p f_i). Frequencies that a
/// context extension has changed, and its scale, enter here: YaRN's are f_i blended per dimension
/// and 0.1 ln s + 1 [Peng23 3.4]. RETURNS: [positions][2 * frequencies].
std::vector<float> RopeTable(const std::vector<double>& inverse_frequencies, double scale,
                             int32_t positions);

}  // namespace moecast::kernels
