// WeightRead: how much of a weight matrix a product reads and multiplies when rows use parts of it.
#pragma once

#include <cmath>

namespace moecast {

/// A share `always` of a matrix is used by every row; each row uses the rest with probability
/// `chance`, rows independently of one another. Inputs left out by WINA: {0, 1 - sparsity}; an
/// expert of N slices of which S are shared and A of the others chosen: {S/N, A/(N-S)}. The default
/// is the whole matrix. docs/model/formats.md, "Weights that are not read".
struct WeightRead {
  double always = 1;
  double chance = 0;

  [[nodiscard]] bool whole() const { return always >= 1; }
  /// Share of the matrix that a row is multiplied with.
  [[nodiscard]] double used() const { return always + (1 - always) * chance; }
  /// Share of the matrix that at least one of `rows` rows uses: what is read. 0 without rows.
  [[nodiscard]] double touched(double rows) const {
    if (rows <= 0) return 0;
    if (whole()) return 1;
    return always + (1 - always) * (1 - std::pow(1 - chance, rows));
  }
  friend bool operator==(const WeightRead&, const WeightRead&) = default;
};

}  // namespace moecast
