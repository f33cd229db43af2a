// Float64 reference of the quantised cache of one head: quantising, dequantising, attention over
// what a cache holds, and the merge of partial attention. Written for reading, not for speed; codes
// are matrices here, and host_page.h puts them into bytes.
#pragma once

#include <Eigen/Core>
#include <vector>

#include "kernels/ops/kv/kv_scheme.h"

namespace moecast::kernels::reference {

/// Keys or values of one head as a part stores them.
struct QuantisedPart {
  KvPart part = {};
  /// [tokens, head_dim]: 0 .. 2^bits - 1, or the byte of an fp8 number.
  Eigen::MatrixXi codes;
  /// Token axis: [tokens, head_dim / group]. Channel axis: [ceil(tokens / group), head_dim].
  Eigen::MatrixXd scales;
  Eigen::MatrixXd zeros;  // of integers
};

/// x [tokens, head_dim]. Scale = (max - min) / (2^bits - 1) and zero = min of a group, rounded to
/// float16; codes of those; then the end points move in by eta:
/// scale' = (1 - 2 eta) scale, zero' = zero + eta (2^bits - 1) scale.            [XQuant25
/// sec. 3.2] fp8: scale = max |x| / largest, rounded to float32. REQUIRES: not bf16; on the channel
/// axis whole groups of tokens.
QuantisedPart Quantise(const KvPart& part, const Eigen::MatrixXd& x);

/// The code of x under a scale and zero as they were before eta; what a check compares with.
/// Unrounded: the nearest whole number to it, clamped, is the code of an integer part.
double ExactCode(double x, double scale, double zero);

/// scale * code + zero. A part that shares codes is given them by assigning `codes`.
Eigen::MatrixXd Dequantise(const QuantisedPart& quantised);

/// What attention sees of x [tokens, head_dim] once all its tokens are cached: tokens that have
/// left the window through Quantise and back, the others as they are. Where `codes_of` is given,
/// codes come from it, another layer's x, and scales from x.
Eigen::MatrixXd Cached(const KvPart& part, const KvWindow& window, const Eigen::MatrixXd& x,
                       const Eigen::MatrixXd* codes_of = nullptr);

struct AttentionOutput {
  Eigen::MatrixXd out;          // [queries, head_dim]
  Eigen::VectorXd log_sum_exp;  // [queries], natural, of the scaled scores
};

/// softmax(scale q k^T) v. REQUIRES: at least one token.
AttentionOutput Attend(const Eigen::MatrixXd& q, const Eigen::MatrixXd& k, const Eigen::MatrixXd& v,
                       double scale);

/// Attention over the union of disjoint sets of tokens from attention over each:
/// out = sum_i exp(l_i - l) out_i, l = log sum_i exp(l_i).                            [Dao23 sec.
/// 3]
AttentionOutput Merge(const std::vector<AttentionOutput>& parts);

/// H[i, j] = (-1)^popcount(i & j) / sqrt(n), symmetric and orthogonal. REQUIRES: n a power of two.
Eigen::MatrixXd Hadamard(int n);

}  // namespace moecast::kernels::reference
