#include "calibration/fit.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "calibration/nonnegative.h"
#include "sim/base/check.h"

namespace moecast::calibration {
namespace {

constexpr std::array<double, 6> kSharpnesses{1, 1.5, 2, 3, 5, 10};
/// 0, once per expert, first: other forms have no passes.
constexpr std::array<double, 5> kRowsPerPass{0, 16, 32, 64, 128};
constexpr int kIterations = 12;
/// Relative error at which the loss turns from square to absolute.
constexpr double kKnee = 0.02;

constexpr Eigen::Index kUnknowns = 3 + kMemoryTerms;  // fixed, memory terms, compute, chain
static_assert(kUnknowns <= kMostUnknowns);

double SoftL1(double error) {
  const double z = error / kKnee;
  return 2 * (std::sqrt(1 + z * z) - 1);
}
/// Square root of the weight that makes a weighted square the soft-L1 loss at this error.
double RootWeight(double error) {
  const double z = error / kKnee;
  return 1 / std::sqrt(std::sqrt(1 + z * z));
}

/// How much each part counts at the present coefficients. The norm is homogeneous of degree 1, so
/// t = fixed + sum of share * part, exactly (Euler), and one step is a linear problem.
std::array<double, kParts> SharesOf(const KernelFit& fit, const KernelWork& work) {
  std::array<double, kParts> shares = PartsOf(fit, work);
  const double norm = NormOfParts(shares, fit.sharpness);
  for (double& share : shares) {
    share = norm > 0 ? std::pow(share / norm, fit.sharpness - 1) : 1;
  }
  return shares;
}

/// Fits at one sharpness and one pass length.
class Fitter {
 public:
  Fitter(const KernelForm& form, std::span<const FitPoint> points, double rows_per_pass)
      : points_(points), rows_per_pass_(rows_per_pass) {
    for (const FitPoint& point : points) works_.push_back(form.work(point.features, rows_per_pass));
  }

  /// Gauss-Newton with the loss's weights from the fitted sum on; the best iterate counts.
  [[nodiscard]] KernelFit At(double sharpness) const {
    KernelFit fit{.sharpness = 1, .rows_per_pass = rows_per_pass_};
    fit = Step(fit);
    fit.sharpness = sharpness;
    KernelFit best = fit;
    double least = Loss(best);
    for (int i = 0; i < kIterations; ++i) {
      fit = Step(fit);
      const double loss = Loss(fit);
      if (loss < least) {
        least = loss;
        best = fit;
      }
    }
    return best;
  }

  [[nodiscard]] double Loss(const KernelFit& fit) const {
    double loss = 0;
    for (size_t i = 0; i < points_.size(); ++i) {
      loss += points_[i].weight * SoftL1(FitTime(fit, works_[i]) / points_[i].seconds - 1);
    }
    return loss;
  }

 private:
  [[nodiscard]] KernelFit Step(const KernelFit& from) const {
    const auto rows = static_cast<Eigen::Index>(points_.size());
    Eigen::MatrixXd a(rows, kUnknowns);
    Eigen::VectorXd b(rows);
    for (Eigen::Index r = 0; r < rows; ++r) {
      const KernelWork& work = works_[static_cast<size_t>(r)];
      const auto& [features, seconds, count] = points_[static_cast<size_t>(r)];
      const double weight = std::sqrt(count) * RootWeight(FitTime(from, work) / seconds - 1);
      const auto [memory, compute, chain] = SharesOf(from, work);
      const double scale = weight / seconds;
      a(r, 0) = scale;
      for (size_t i = 0; i < kMemoryTerms; ++i) {
        a(r, static_cast<Eigen::Index>(1 + i)) = scale * memory * work.memory[i];
      }
      a(r, kUnknowns - 2) = scale * compute * work.compute;
      a(r, kUnknowns - 1) = scale * chain * work.chain;
      b(r) = weight;
    }
    return FromUnknowns(NonNegativeLeastSquares(a, b), from);
  }

  static KernelFit FromUnknowns(const Eigen::VectorXd& x, const KernelFit& from) {
    KernelFit fit = from;
    fit.fixed = x(0);
    for (size_t i = 0; i < kMemoryTerms; ++i) {
      fit.per_memory[i] = x(static_cast<Eigen::Index>(1 + i));
    }
    fit.per_compute = x(kUnknowns - 2);
    fit.per_chain = x(kUnknowns - 1);
    return fit;
  }

  std::span<const FitPoint> points_;
  double rows_per_pass_;
  std::vector<KernelWork> works_;
};

}  // namespace

FormFit FitAt(const KernelForm& form, std::span<const FitPoint> points, double rows_per_pass) {
  SIM_CHECK(!points.empty());
  const Fitter fitter(form, points, rows_per_pass);
  FormFit best{.fit = {}, .loss = std::numeric_limits<double>::infinity()};
  for (const double sharpness : kSharpnesses) {
    const KernelFit fit = fitter.At(sharpness);
    const double loss = fitter.Loss(fit);
    if (loss < best.loss) best = {.fit = fit, .loss = loss};
  }
  return best;
}

KernelFit FitLike(const KernelForm& form, std::span<const FitPoint> points, const KernelFit& like) {
  SIM_CHECK(!points.empty());
  return Fitter(form, points, like.rows_per_pass).At(like.sharpness);
}

double FitRowsPerPass(const KernelForm& form, const std::vector<std::vector<FitPoint>>& shapes) {
  double best = 0;
  if (!form.has_passes) return best;
  double least = std::numeric_limits<double>::infinity();
  for (const double rows_per_pass : kRowsPerPass) {
    double loss = 0;
    for (const std::vector<FitPoint>& points : shapes) {
      loss += FitAt(form, points, rows_per_pass).loss;
    }
    if (loss < least) {
      least = loss;
      best = rows_per_pass;
    }
  }
  return best;
}

}  // namespace moecast::calibration
