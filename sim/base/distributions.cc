#include "sim/base/distributions.h"

#include <cmath>
#include <limits>

#include "sim/base/check.h"
#include "sim/base/quantile_functions.h"

namespace moecast {
namespace {

// Uniform in (0, 1): the midpoints of 2^52 equal cells, each exact in double.
double OpenUniform(RngStream& rng) {
  return (static_cast<double>(rng.NextU64() >> 12) + 0.5) * 0x1p-52;
}

// Gamma of scale 1 and shape >= 1 by squeezed rejection from a cubed normal. [MarsagliaTsang00]
double SampleGammaShapeAtLeastOne(RngStream& rng, double shape) {
  const double d = shape - 1.0 / 3.0;
  const double c = 1.0 / std::sqrt(9.0 * d);
  while (true) {
    const double x = SampleNormal(rng);
    const double root = 1.0 + c * x;
    if (root <= 0) continue;
    const double v = root * root * root;
    if (std::log(OpenUniform(rng)) < 0.5 * x * x + d - d * v + d * std::log(v)) return d * v;
  }
}

}  // namespace

double SampleExponential(RngStream& rng, double mean) {
  SIM_CHECK(mean > 0);
  return -mean * std::log1p(-rng.NextUniform());
}

double SampleNormal(RngStream& rng) { return NormalQuantile(OpenUniform(rng)); }

double SampleGamma(RngStream& rng, double shape, double scale) {
  SIM_CHECK(shape > 0 && scale > 0);
  if (shape >= 1) return scale * SampleGammaShapeAtLeastOne(rng, shape);
  // Gamma(a) = Gamma(a + 1) * U^(1/a). [MarsagliaTsang00]
  const double raised = SampleGammaShapeAtLeastOne(rng, shape + 1);
  return scale * raised * std::pow(OpenUniform(rng), 1.0 / shape);
}

double SampleLognormal(RngStream& rng, double mean, double cv) {
  SIM_CHECK(mean > 0 && cv >= 0);
  const double variance_of_log = std::log1p(cv * cv);
  return mean * std::exp(std::sqrt(variance_of_log) * SampleNormal(rng) - 0.5 * variance_of_log);
}

int64_t SampleUniformInt(RngStream& rng, int64_t low, int64_t high) {
  SIM_CHECK(low <= high);
  const uint64_t range = static_cast<uint64_t>(high) - static_cast<uint64_t>(low);
  const bool whole = range == std::numeric_limits<uint64_t>::max();
  const uint64_t offset = whole ? rng.NextU64() : rng.NextBelow(range + 1);
  return static_cast<int64_t>(static_cast<uint64_t>(low) + offset);
}

}  // namespace moecast
