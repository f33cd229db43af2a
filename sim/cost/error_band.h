// ErrorBand: how far off a predicted time may be.
#pragma once

namespace moecast {

/// Half widths of prediction intervals of ln(measured / predicted) at 80 and 95 %: the true time
/// lies between predicted * exp(-half) and predicted * exp(+half) with that confidence.
struct ErrorBand {
  double half80 = 0;
  double half95 = 0;
};

}  // namespace moecast
