#include "kernels/harness/kv_accuracy.h"

#include <Eigen/Eigenvalues>
#include <cmath>
#include <numbers>
#include <optional>

#include "kernels/ops/expert_gemm/quantise.h"
#include "kernels/ops/kv/latent_layout.h"
#include "kernels/ops/kv/reference.h"
#include "sim/base/check.h"
#include "sim/base/rng.h"

namespace moecast::kernels {
namespace {

using Eigen::Index;
using Eigen::MatrixXd;
using Eigen::VectorXd;

constexpr int kHeads = 4;
constexpr int kQueries = 8;
constexpr double kLayerCorrelation = 0.95;
constexpr double kOutlierSize = 10;
constexpr int kOutlierChannels = 4;
// Of real-shaped heads.
constexpr double kChannelSpread = 0.8;     // of the logarithm of a channel's size
constexpr double kTokenSpread = 0.4;       // of the logarithm of a token's values
constexpr double kTokenCorrelation = 0.9;  // of neighbouring keys
constexpr double kScoreSpread = 3;         // standard deviation of scaled scores
constexpr double kRopeBase = 1e6;

double Normal(RngStream& rng) {
  const double radius = std::sqrt(-2 * std::log1p(-rng.NextUniform()));
  return radius * std::cos(2 * std::numbers::pi * rng.NextUniform());
}
MatrixXd Normals(RngStream& rng, Index rows, Index columns) {
  return MatrixXd::NullaryExpr(rows, columns, [&](Index, Index) { return Normal(rng); });
}
MatrixXd Rounded(const MatrixXd& x) {
  return x.unaryExpr([](double v) { return ValueOfBf16(Bf16Of(v)); });
}
MatrixXd Related(RngStream& rng, const MatrixXd& x) {
  return kLayerCorrelation * x +
         std::sqrt(1 - kLayerCorrelation * kLayerCorrelation) * Normals(rng, x.rows(), x.cols());
}

// Rows follow each other: x[t] = r x[t - 1] + sqrt(1 - r^2) x[t].
void Correlate(MatrixXd& x) {
  const double fresh = std::sqrt(1 - kTokenCorrelation * kTokenCorrelation);
  for (Index t = 1; t < x.rows(); ++t)
    x.row(t) = kTokenCorrelation * x.row(t - 1) + fresh * x.row(t);
}

// Rotary embedding of the row's number, halves paired. [Su21 Eq. 15]
void RotateByPosition(MatrixXd& x) {
  const Index half = x.cols() / 2;
  for (Index t = 0; t < x.rows(); ++t) {
    for (Index i = 0; i < half; ++i) {
      const double angle = static_cast<double>(t) *
                           std::pow(kRopeBase, -static_cast<double>(i) / static_cast<double>(half));
      const double a = x(t, i);
      const double b = x(t, i + half);
      x(t, i) = a * std::cos(angle) - b * std::sin(angle);
      x(t, i + half) = b * std::cos(angle) + a * std::sin(angle);
    }
  }
}

// What a head's channels have in common over its tokens.
struct Channels {
  VectorXd size;
  VectorXd offset;
};

MatrixXd RealKeys(const Channels& channels, MatrixXd own) {
  Correlate(own);
  MatrixXd keys = (own.rowwise() + channels.offset.transpose()) * channels.size.asDiagonal();
  RotateByPosition(keys);
  return keys;
}

MatrixXd RealValues(const VectorXd& size, const VectorXd& offset, const MatrixXd& own) {
  MatrixXd values = size.asDiagonal() * (own.rowwise() + 0.3 * offset.transpose());
  values.row(0) *= 0.05;  // the first token draws attention and says little
  return values;
}

// Each query points at a few keys, some of them always the first, so that attention is neither
// flat nor one token.
MatrixXd RealQueries(RngStream& rng, const MatrixXd& keys) {
  const auto tokens = static_cast<uint64_t>(keys.rows());
  MatrixXd queries = Normals(rng, kQueries, keys.cols());
  for (Index q = 0; q < queries.rows(); ++q) {
    queries.row(q) += keys.row(0) / keys.row(0).norm();
    for (int i = 0; i < 4; ++i) {
      const VectorXd key = keys.row(static_cast<Index>(rng.NextBelow(tokens)));
      queries.row(q) += 2 * std::sqrt(static_cast<double>(keys.cols())) * key / key.norm();
    }
    const VectorXd scores = keys * queries.row(q).transpose();
    const double spread = std::sqrt((scores.array() - scores.mean()).square().mean());
    queries.row(q) *= kScoreSpread * std::sqrt(static_cast<double>(keys.cols())) / spread;
  }
  return queries;
}

DrawnHead DrawReal(RngStream& rng, int head_dim, int tokens) {
  Channels channels{.size = Normals(rng, head_dim, 1).col(0),
                    .offset = 1.5 * Normals(rng, head_dim, 1).col(0)};
  channels.size = (kChannelSpread * channels.size.array()).exp();
  for (int i = 0; i < kOutlierChannels; ++i)
    channels.size(static_cast<Index>(rng.NextBelow(static_cast<uint64_t>(head_dim)))) *= 6;
  const VectorXd size = (kTokenSpread * Normals(rng, tokens, 1).col(0).array()).exp();
  const VectorXd offset = Normals(rng, head_dim, 1).col(0);
  const MatrixXd keys = Normals(rng, tokens, head_dim);
  const MatrixXd values = Normals(rng, tokens, head_dim);
  DrawnHead head{.queries = {},
                 .keys = Rounded(RealKeys(channels, keys)),
                 .values = Rounded(RealValues(size, offset, values)),
                 .keys_before = Rounded(RealKeys(channels, Related(rng, keys))),
                 .values_before = Rounded(RealValues(size, offset, Related(rng, values)))};
  head.queries = Rounded(RealQueries(rng, head.keys));
  return head;
}

// Eigenvectors of the keys' second moments, then a Hadamard matrix: sizes even out over channels.
MatrixXd CalibratedRotation(KvDataKind kind, int head_dim, int tokens) {
  constexpr uint64_t kCalibrationSeed = 1000;
  const MatrixXd keys = DrawHead(kind, head_dim, tokens, kCalibrationSeed).keys;
  const Eigen::SelfAdjointEigenSolver<MatrixXd> solver(keys.transpose() * keys);
  return solver.eigenvectors() * reference::Hadamard(head_dim);
}

// Sums of squares of differences and of what they are relative to.
struct Squares {
  double error = 0;
  double size = 0;
  void Add(const MatrixXd& out, const MatrixXd& expected) {
    error += (out - expected).squaredNorm();
    size += expected.squaredNorm();
  }
  [[nodiscard]] double Relative() const { return std::sqrt(error / size); }
};

}  // namespace

std::string_view Name(KvDataKind kind) {
  constexpr std::string_view kNames[] = {"gaussian", "outliers", "real_shaped"};
  return kNames[static_cast<size_t>(kind)];
}

DrawnHead DrawHead(KvDataKind kind, int head_dim, int tokens, uint64_t seed) {
  RngStream rng({.seed = seed}, "kernels/kv_accuracy", static_cast<uint64_t>(kind));
  if (kind == KvDataKind::kRealShaped) return DrawReal(rng, head_dim, tokens);
  MatrixXd keys = Normals(rng, tokens, head_dim);
  const MatrixXd values = Normals(rng, tokens, head_dim);
  MatrixXd keys_before = Related(rng, keys);
  const MatrixXd values_before = Related(rng, values);
  for (int i = 0; kind == KvDataKind::kOutliers && i < kOutlierChannels; ++i) {
    const Index channel = head_dim / kOutlierChannels * i + 3;
    keys.col(channel) *= kOutlierSize;
    keys_before.col(channel) *= kOutlierSize;
  }
  return {.queries = Rounded(Normals(rng, kQueries, head_dim)),
          .keys = Rounded(keys),
          .values = Rounded(values),
          .keys_before = Rounded(keys_before),
          .values_before = Rounded(values_before)};
}

KvError SchemeError(const KvScheme& scheme, KvDataKind kind, int head_dim, int tokens) {
  SIM_CHECK(Fits(scheme, head_dim));
  const bool rotates = scheme.rotation != KeyRotation::kNone;
  const bool given = scheme.rotation == KeyRotation::kGiven;
  const MatrixXd plain = MatrixXd::Identity(head_dim, head_dim);
  const MatrixXd of_keys = given     ? CalibratedRotation(kind, head_dim, tokens)
                           : rotates ? reference::Hadamard(head_dim)
                                     : plain;
  const MatrixXd of_values = given ? reference::Hadamard(head_dim) : plain;
  const double scale = 1 / std::sqrt(static_cast<double>(head_dim));
  Squares keys;
  Squares values;
  Squares output;
  for (uint64_t h = 0; h < kHeads; ++h) {
    const DrawnHead head = DrawHead(kind, head_dim, tokens, h);
    const MatrixXd k = head.keys * of_keys;
    const MatrixXd v = head.values * of_values;
    const MatrixXd cached_k = reference::Cached(
        scheme.keys, scheme.window, k, scheme.keys.shares_codes ? &head.keys_before : nullptr);
    const MatrixXd cached_v =
        reference::Cached(scheme.values, scheme.window, v,
                          scheme.values.shares_codes ? &head.values_before : nullptr);
    keys.Add(cached_k, k);
    values.Add(cached_v, v);
    const MatrixXd out = reference::Attend(head.queries * of_keys, cached_k, cached_v, scale).out;
    output.Add(out * of_values.transpose(),
               reference::Attend(head.queries, head.keys, head.values, scale).out);
  }
  return {.keys = keys.Relative(), .values = values.Relative(), .output = output.Relative()};
}

KvError LatentError(KvElement element, KvDataKind kind, int tokens) {
  constexpr int kWidth = kLatentChannels + kRotaryChannels;
  const KvPart part{.element = element, .group = kLatentGroup};
  const double scale = 1 / std::sqrt(double{kWidth});
  Squares latents;
  Squares output;
  for (uint64_t h = 0; h < kHeads; ++h) {
    const DrawnHead head = DrawHead(kind, kWidth, tokens, h);
    const MatrixXd latent = head.keys.leftCols(kLatentChannels);
    const MatrixXd cached = reference::Cached(part, {}, latent);
    MatrixXd keys = head.keys;
    keys.leftCols(kLatentChannels) = cached;
    latents.Add(cached, latent);
    output.Add(reference::Attend(head.queries, keys, cached, scale).out,
               reference::Attend(head.queries, head.keys, latent, scale).out);
  }
  return {.keys = latents.Relative(), .values = latents.Relative(), .output = output.Relative()};
}

}  // namespace moecast::kernels
