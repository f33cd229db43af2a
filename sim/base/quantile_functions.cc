#include "sim/base/quantile_functions.h"

#include <boost/math/distributions/normal.hpp>
#include <boost/math/distributions/students_t.hpp>
#include <boost/math/policies/policy.hpp>

#include "sim/base/check.h"

namespace moecast {
namespace {

// Evaluate in double, never in long double: the same bits on every machine, and faster.
using InDouble = boost::math::policies::policy<boost::math::policies::promote_double<false>>;

}  // namespace

double NormalQuantile(double probability) {
  SIM_CHECK(probability > 0 && probability < 1);
  return boost::math::quantile(boost::math::normal_distribution<double, InDouble>(), probability);
}

double StudentTQuantile(double probability, double degrees_of_freedom) {
  SIM_CHECK(probability > 0 && probability < 1 && degrees_of_freedom > 0);
  return boost::math::quantile(
      boost::math::students_t_distribution<double, InDouble>(degrees_of_freedom), probability);
}

}  // namespace moecast
