#include "kernels/ops/attend/reference.h"

#include <algorithm>
#include <cmath>

namespace moecast::kernels::reference {

std::vector<int32_t> SeenTokens(const KvScheme& scheme, const VisibleTokens& visible,
                                const std::vector<int32_t>* selected, int32_t length) {
  const KvWindow& window = scheme.window;
  std::vector<int32_t> seen;
  for (int32_t t = 0; t < length; ++t) {
    const bool in_view = visible.window == 0 || t < visible.sink || t >= length - visible.window;
    const bool in_pages = t >= window.sink && t < window.sink + QuantisedTokens(window, length);
    const bool chosen = selected == nullptr || !in_pages ||
                        std::count(selected->begin(), selected->end(), t / kPageTokens) > 0;
    if (in_view && chosen) seen.push_back(t);
  }
  return seen;
}

Eigen::MatrixXd Attend(const Eigen::MatrixXd& query, const Eigen::MatrixXd& keys,
                       const Eigen::MatrixXd& values, std::span<const int32_t> seen,
                       double softmax_scale) {
  Eigen::MatrixXd out = Eigen::MatrixXd::Zero(query.rows(), query.cols());
  if (seen.empty()) return out;
  for (Eigen::Index h = 0; h < query.rows(); ++h) {
    Eigen::VectorXd scores(static_cast<Eigen::Index>(seen.size()));
    for (Eigen::Index i = 0; i < scores.size(); ++i)
      scores(i) = softmax_scale * query.row(h).dot(keys.row(seen[static_cast<size_t>(i)]));
    const Eigen::ArrayXd p = (scores.array() - scores.maxCoeff()).exp();
    for (Eigen::Index i = 0; i < scores.size(); ++i)
      out.row(h) += p(i) / p.sum() * values.row(seen[static_cast<size_t>(i)]);
  }
  return out;
}

}  // namespace moecast::kernels::reference
