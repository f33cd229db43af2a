// Inverse distribution functions, from Boost.Math. Kept apart because its headers are heavy.
#pragma once

namespace moecast {

/// z such that a standard normal is below z with the given probability. REQUIRES: in (0, 1).
double NormalQuantile(double probability);

/// t such that Student's t is below t with the given probability. REQUIRES: probability in (0, 1),
/// degrees_of_freedom > 0.
double StudentTQuantile(double probability, double degrees_of_freedom);

}  // namespace moecast
