// Quantities as distinct types: only meaningful operators exist (Bytes / BytesPerSecond = Seconds).
// Time on the simulated clock is int64 nanoseconds; `Seconds` (double) exists inside cost formulas
// and becomes Duration in one place, RoundUpToNs.
#pragma once

#include <chrono>
#include <cmath>
#include <compare>
#include <cstdint>

namespace moecast {

/// Tags the chrono time_point of simulated time. There is no now(): the simulator passes time.
struct SimClock {
  using rep = int64_t;
  using period = std::nano;
  using duration = std::chrono::nanoseconds;
  using time_point = std::chrono::time_point<SimClock, duration>;
  // NOLINTNEXTLINE(readability-identifier-naming): the name that chrono asks of a clock.
  static constexpr bool is_steady = true;
};
using Duration = SimClock::duration;
using Time = SimClock::time_point;

/// A number of one kind. Same-kind sums, scaling by a dimensionless number, ratio of equals.
template <class Tag, class Rep>
class Quantity {
 public:
  constexpr Quantity() = default;
  constexpr explicit Quantity(Rep count) : count_(count) {}
  [[nodiscard]] constexpr Rep count() const { return count_; }

  friend constexpr auto operator<=>(Quantity, Quantity) = default;
  friend constexpr Quantity operator+(Quantity a, Quantity b) {
    return Quantity(a.count_ + b.count_);
  }
  friend constexpr Quantity operator-(Quantity a, Quantity b) {
    return Quantity(a.count_ - b.count_);
  }
  friend constexpr Quantity operator*(Quantity a, Rep factor) {
    return Quantity(a.count_ * factor);
  }
  friend constexpr Quantity operator*(Rep factor, Quantity a) { return a * factor; }
  constexpr Quantity& operator+=(Quantity b) { return *this = *this + b; }
  constexpr Quantity& operator-=(Quantity b) { return *this = *this - b; }
  /// Dimensionless ratio of two quantities of one kind.
  friend constexpr double operator/(Quantity a, Quantity b) {
    return static_cast<double>(a.count_) / static_cast<double>(b.count_);
  }

 private:
  Rep count_{};
};

using Tokens = Quantity<struct TokensTag, int64_t>;
using Bytes = Quantity<struct BytesTag, double>;  // double: features sum fractions of a byte
using Flops = Quantity<struct FlopsTag, double>;
using Seconds = Quantity<struct SecondsTag, double>;
using BytesPerSecond = Quantity<struct BytesPerSecondTag, double>;
using FlopsPerSecond = Quantity<struct FlopsPerSecondTag, double>;

constexpr Seconds operator/(Bytes b, BytesPerSecond rate) {
  return Seconds(b.count() / rate.count());
}
constexpr Seconds operator/(Flops f, FlopsPerSecond rate) {
  return Seconds(f.count() / rate.count());
}
constexpr Bytes operator*(BytesPerSecond rate, Seconds t) {
  return Bytes(rate.count() * t.count());
}

inline constexpr double kNsPerSecond = 1e9;

/// The one place where a predicted time enters simulated time: rounds up, never below 1 ns (INV-6).
/// REQUIRES: t is finite, not negative and below 292 years.
inline Duration RoundUpToNs(Seconds t) {
  const double ns = std::ceil(t.count() * kNsPerSecond);
  return Duration(ns < 1.0 ? 1 : static_cast<int64_t>(ns));
}

constexpr double ToSeconds(Duration d) { return static_cast<double>(d.count()) / kNsPerSecond; }
constexpr double ToSeconds(Time t) { return ToSeconds(t.time_since_epoch()); }
constexpr double ToMilliseconds(Duration d) { return static_cast<double>(d.count()) * 1e-6; }

}  // namespace moecast
