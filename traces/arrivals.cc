#include "traces/arrivals.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <variant>

#include "sim/base/distributions.h"
#include "sim/base/text.h"
#include "traces/request.h"

namespace moecast {
namespace {

constexpr double kMaxNs = static_cast<double>(kMaxArrival.time_since_epoch().count());
constexpr double kMaxRatePerS = 1e9;  // one arrival in a clock tick
constexpr double kMaxCv = 100;
constexpr double kMaxPhaseS = kMaxNs / kNsPerSecond;

// The interval (low, high], or [low, high] with low_allowed.
struct Range {
  double low = 0;
  bool low_allowed = false;
  double high = 0;
};

void CheckRange(std::string_view field, double value, Range range, Errors& errors) {
  const bool above = range.low_allowed ? value >= range.low : value > range.low;
  if (above && value <= range.high) return;  // false for NaN
  errors.push_back(
      {.message = "is " + ShortestDouble(value) + "; expected a number " +
                  (range.low_allowed ? "from " : "above ") + ShortestDouble(range.low) +
                  (range.low_allowed ? " to " : " up to ") + ShortestDouble(range.high),
       .where = "arrivals." + std::string(field)});
}

constexpr Range kRate{.low = 0, .low_allowed = false, .high = kMaxRatePerS};
constexpr Range kRateOrZero{.low = 0, .low_allowed = true, .high = kMaxRatePerS};
constexpr Range kCv{.low = 0, .low_allowed = false, .high = kMaxCv};
constexpr Range kPhase{.low = 1 / kNsPerSecond, .low_allowed = true, .high = kMaxPhaseS};

void Check(const PoissonArrivals& poisson, Errors& errors) {
  CheckRange("rate_per_s", poisson.rate_per_s, kRate, errors);
}
void Check(const GammaArrivals& gamma, Errors& errors) {
  CheckRange("rate_per_s", gamma.rate_per_s, kRate, errors);
  CheckRange("cv", gamma.cv, kCv, errors);
}
void Check(const FixedRateArrivals& fixed, Errors& errors) {
  CheckRange("rate_per_s", fixed.rate_per_s, kRate, errors);
}
void Check(const OnOffArrivals& on_off, Errors& errors) {
  CheckRange("on_rate_per_s", on_off.on_rate_per_s, kRate, errors);
  CheckRange("off_rate_per_s", on_off.off_rate_per_s, kRateOrZero, errors);
  CheckRange("on_s", on_off.on_s, kPhase, errors);
  CheckRange("off_s", on_off.off_s, kPhase, errors);
}
void Check(const ClosedLoop& loop, Errors& errors) {
  if (loop.concurrency >= 1) return;
  errors.push_back({.message = "is " + std::to_string(loop.concurrency) +
                               "; expected a whole number of at least 1",
                    .where = "arrivals.concurrency"});
}

double ToNs(double seconds) { return seconds * kNsPerSecond; }

}  // namespace

ArrivalProcess::ArrivalProcess(const Arrivals& arrivals, Seed seed)
    : arrivals_(arrivals), rng_(seed, "workload/arrivals") {}

Result<ArrivalProcess> ArrivalProcess::Make(const Arrivals& arrivals, Seed seed) {
  Errors errors;
  std::visit([&](const auto& process) { Check(process, errors); }, arrivals);
  if (!errors.empty()) return errors;
  return ArrivalProcess(arrivals, seed);
}

std::optional<Time> ArrivalProcess::Next() {
  return std::visit([this](const auto& process) { return NextOf(process); }, arrivals_);
}

std::optional<Time> ArrivalProcess::Advance(double gap_ns) {
  const double ahead_ns = beyond_ns_ + gap_ns;
  if (!(static_cast<double>(now_ns_) + ahead_ns <= kMaxNs)) {
    now_ns_ = std::numeric_limits<int64_t>::max();
    return std::nullopt;
  }
  const double whole_ns = std::floor(ahead_ns);
  now_ns_ += static_cast<int64_t>(whole_ns);
  beyond_ns_ = ahead_ns - whole_ns;
  return Time{Duration{now_ns_ + std::llround(beyond_ns_)}};
}

std::optional<Time> ArrivalProcess::NextOf(const PoissonArrivals& poisson) {
  return Advance(SampleExponential(rng_, ToNs(1 / poisson.rate_per_s)));
}

// Eq. W2: shape 1/cv^2 and scale cv^2/rate give mean gap 1/rate and its coefficient of variation
// cv.
std::optional<Time> ArrivalProcess::NextOf(const GammaArrivals& gamma) {
  const double squared_cv = gamma.cv * gamma.cv;
  return Advance(SampleGamma(rng_, 1 / squared_cv, ToNs(squared_cv / gamma.rate_per_s)));
}

// Not a sum of gaps, so that the thousandth arrival is exactly a thousand periods late.
std::optional<Time> ArrivalProcess::NextOf(const FixedRateArrivals& fixed) {
  const double at_ns = ToNs(static_cast<double>(++fixed_count_)) / fixed.rate_per_s;
  if (at_ns > kMaxNs) return std::nullopt;
  return Time{Duration{std::llround(at_ns)}};
}

// Eq. W3: the integral of the rate over a gap is a unit exponential. The integral is spent phase by
// phase, after whole cycles, which leave the place in the cycle as it is, have been skipped.
std::optional<Time> ArrivalProcess::NextOf(const OnOffArrivals& on_off) {
  const int64_t on_ns = std::llround(ToNs(on_off.on_s));
  const int64_t off_ns = std::llround(ToNs(on_off.off_s));
  const double on_rate = on_off.on_rate_per_s / kNsPerSecond;
  const double off_rate = on_off.off_rate_per_s / kNsPerSecond;
  const double on_length = static_cast<double>(on_ns);
  const double off_length = static_cast<double>(off_ns);
  const double per_cycle = on_rate * on_length + off_rate * off_length;

  double left = SampleExponential(rng_, 1);
  const double cycles = std::floor(left / per_cycle);
  left = std::max(0.0, left - cycles * per_cycle);
  double gap_ns = cycles * (on_length + off_length);
  double place_ns = static_cast<double>(now_ns_ % (on_ns + off_ns)) + beyond_ns_;
  while (true) {
    const bool on = place_ns < on_length;
    const double rate = on ? on_rate : off_rate;
    const double phase_ns = (on ? on_length : on_length + off_length) - place_ns;
    if (left < rate * phase_ns) return Advance(gap_ns + left / rate);
    left -= rate * phase_ns;
    gap_ns += phase_ns;
    place_ns = on ? on_length : 0;
  }
}

std::optional<Time> ArrivalProcess::NextOf(const ClosedLoop& /*loop*/) { return Time{}; }

}  // namespace moecast
