// How far attention over a quantised cache is from attention over bf16, by the float64 reference on
// drawn heads. The number stands in the `output_error` column of KV rows and, for three kinds of
// data, in kernels/data/kv_accuracy.csv, which moecast_kv_accuracy writes.
#pragma once

#include <Eigen/Core>
#include <cstdint>
#include <string_view>

#include "kernels/ops/kv/kv_scheme.h"

namespace moecast::kernels {

/// What the heads' numbers are like; docs/kernels_kv.md says why these.
///   gaussian    independent normal queries, keys and values
///   outliers    the same, four channels of keys ten times as large
///   real_shaped keys with offsets and log-normal sizes by channel, a few of them large, that
///   change
///               slowly from token to token, then rotated by position; a first token with small
///               values; values of log-normal size by token; queries that point at some of the keys
enum class KvDataKind : int32_t { kGaussian, kOutliers, kRealShaped };
inline constexpr KvDataKind kKvDataKinds[] = {KvDataKind::kGaussian, KvDataKind::kOutliers,
                                              KvDataKind::kRealShaped};
std::string_view Name(KvDataKind kind);

/// One KV head and the queries that share it, rounded to bf16; and the layer before, whose codes a
/// sharing layer uses: the same but for its independent part, with which it correlates 0.95.
struct DrawnHead {
  Eigen::MatrixXd queries;  // [queries, head_dim]
  Eigen::MatrixXd keys;     // [tokens, head_dim]
  Eigen::MatrixXd values;
  Eigen::MatrixXd keys_before;
  Eigen::MatrixXd values_before;
};
/// REQUIRES: head_dim even, tokens > 8.
DrawnHead DrawHead(KvDataKind kind, int head_dim, int tokens, uint64_t seed);

/// Relative Frobenius errors over a few heads of `tokens` tokens.
struct KvError {
  double keys = 0;
  double values = 0;
  double output = 0;
};

/// A rotation that is given is the eigenvectors of the keys of another draw, then a Hadamard
/// matrix, and values take a Hadamard matrix, which folds into the projections.
/// REQUIRES: Fits(scheme, head_dim). COST: some 10 ms at 1024 tokens.
KvError SchemeError(const KvScheme& scheme, KvDataKind kind, int head_dim, int tokens);

/// The same for latents of 512 channels in groups of 128 with a rotary part of 64 that stays bf16.
KvError LatentError(KvElement element, KvDataKind kind, int tokens);

/// Tokens at which rows state their error.
inline constexpr int kAccuracyTokens = 1024;

}  // namespace moecast::kernels
