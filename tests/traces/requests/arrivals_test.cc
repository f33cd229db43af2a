#include "traces/arrivals.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "sim/base/stats.h"
#include "tests/support/distribution_distance.h"
#include "traces/request.h"

namespace moecast {
namespace {

constexpr size_t kCount = 200'000;

std::vector<Time> Draw(const Arrivals& arrivals, size_t count = kCount, Seed seed = {.seed = 7}) {
  auto process = ArrivalProcess::Make(arrivals, seed);
  std::vector<Time> times;
  for (size_t i = 0; i < count; ++i) times.push_back(process->Next().value());
  return times;
}

std::vector<double> GapsInSeconds(const std::vector<Time>& times) {
  std::vector<double> gaps;
  Time before{};
  for (const Time time : times) {
    gaps.push_back(ToSeconds(time - before));
    before = time;
  }
  return gaps;
}

// The mean's sampling error is its standard deviation over sqrt(n); 5 of them is one in two
// million.
double FiveSigma(double standard_deviation) {
  return 5 * standard_deviation / std::sqrt(static_cast<double>(kCount));
}

TEST(PoissonArrivals, GapsAreExponential) {
  const double rate = 12.5;
  const auto gaps = GapsInSeconds(Draw(PoissonArrivals{rate}));
  EXPECT_NEAR(Mean(gaps), 1 / rate, FiveSigma(1 / rate));
  const double distance =
      test::KolmogorovDistance(gaps, [&](double gap) { return 1 - std::exp(-rate * gap); });
  EXPECT_LT(distance, test::KolmogorovLimit(gaps.size()));
}

TEST(PoissonArrivals, CountsInDisjointWindowsAreUncorrelatedWithVarianceEqualToTheMean) {
  const double rate = 10;
  const auto times = Draw(PoissonArrivals{rate});
  std::vector<double> counts(static_cast<size_t>(ToSeconds(times.back())));  // whole seconds
  for (const Time time : times) {
    const auto second = static_cast<size_t>(ToSeconds(time));
    if (second < counts.size()) ++counts[second];
  }
  const double mean = Mean(counts);
  const double variance = std::pow(StandardDeviation(counts), 2);
  // The index of dispersion has standard error sqrt(2/n).
  EXPECT_NEAR(variance / mean, 1, 5 * std::sqrt(2.0 / static_cast<double>(counts.size())));
  double covariance = 0;
  for (size_t i = 1; i < counts.size(); ++i) {
    covariance += (counts[i] - mean) * (counts[i - 1] - mean);
  }
  const auto pairs = static_cast<double>(counts.size() - 1);
  EXPECT_NEAR(covariance / pairs / variance, 0, 5 / std::sqrt(pairs));
}

TEST(PoissonArrivals, ADoubledRateHalvesEveryTime) {
  const auto slow = Draw(PoissonArrivals{8}, 1000);
  const auto quick = Draw(PoissonArrivals{16}, 1000);
  for (size_t i = 0; i < slow.size(); ++i) {
    EXPECT_NEAR(static_cast<double>(slow[i].time_since_epoch().count()),
                2 * static_cast<double>(quick[i].time_since_epoch().count()), 2);
  }
}

TEST(GammaArrivals, GapsHaveTheMeanAndTheCoefficientOfVariation) {
  for (const double cv : {0.25, 0.5, 1.0, 2.0, 4.0}) {
    const double rate = 40;
    const auto gaps = GapsInSeconds(Draw(GammaArrivals{.rate_per_s = rate, .cv = cv}));
    EXPECT_NEAR(Mean(gaps), 1 / rate, FiveSigma(cv / rate)) << cv;
    // A Gamma variable's fourth central moment is sd^4 (3 + 6 cv^2), so the sample variance has the
    // relative standard error sqrt((2 + 6 cv^2)/n), and the deviation half of it.
    const double error = 5 * 0.5 * std::sqrt((2 + 6 * cv * cv) / static_cast<double>(kCount));
    EXPECT_NEAR(StandardDeviation(gaps) * rate / cv, 1, error) << cv;
  }
}

TEST(GammaArrivals, CvOneIsPoisson) {
  const auto gaps = GapsInSeconds(Draw(GammaArrivals{.rate_per_s = 3, .cv = 1}));
  const double distance =
      test::KolmogorovDistance(gaps, [](double gap) { return 1 - std::exp(-3 * gap); });
  EXPECT_LT(distance, test::KolmogorovLimit(gaps.size()));
}

TEST(FixedRateArrivals, TheNthArrivalIsExactlyNPeriodsLate) {
  const auto times = Draw(FixedRateArrivals{3}, 3000);
  EXPECT_EQ(times[0], Time{Duration{333'333'333}});
  EXPECT_EQ(times[1], Time{Duration{666'666'667}});
  for (size_t i = 2; i < times.size(); i += 3) {
    EXPECT_EQ(times[i], Time{std::chrono::seconds((i + 1) / 3)});
  }
}

// Seconds spent in the on phase up to `time_s`, on first.
double OnTime(double time_s, const OnOffArrivals& spec) {
  const double cycle = spec.on_s + spec.off_s;
  return std::floor(time_s / cycle) * spec.on_s + std::min(std::fmod(time_s, cycle), spec.on_s);
}

// Eq. W3: in the time that the integral of the rate measures, the process is Poisson at rate 1.
double IntegralOfRate(double time_s, const OnOffArrivals& spec) {
  const double on = OnTime(time_s, spec);
  return spec.on_rate_per_s * on + spec.off_rate_per_s * (time_s - on);
}

TEST(OnOffArrivals, AreUnitPoissonInTheIntegralOfTheirRate) {
  for (const OnOffArrivals spec :
       {OnOffArrivals{.on_rate_per_s = 50, .off_rate_per_s = 2, .on_s = 1, .off_s = 4},
        OnOffArrivals{.on_rate_per_s = 5, .off_rate_per_s = 0, .on_s = 0.3, .off_s = 0.7},
        OnOffArrivals{.on_rate_per_s = 1, .off_rate_per_s = 9, .on_s = 20, .off_s = 0.1},
        OnOffArrivals{.on_rate_per_s = 0.001, .off_rate_per_s = 0, .on_s = 0.01, .off_s = 0.02}}) {
    std::vector<double> gaps;
    double before = 0;
    for (const Time time : Draw(spec)) {
      const double now = IntegralOfRate(ToSeconds(time), spec);
      gaps.push_back(now - before);
      before = now;
    }
    const double distance =
        test::KolmogorovDistance(gaps, [](double gap) { return 1 - std::exp(-gap); });
    EXPECT_LT(distance, test::KolmogorovLimit(gaps.size())) << spec.on_rate_per_s;
    EXPECT_NEAR(Mean(gaps), 1, FiveSigma(1)) << spec.on_rate_per_s;
  }
}

TEST(OnOffArrivals, MeanRateIsTheWeightedMeanOfThePhases) {
  const OnOffArrivals spec{.on_rate_per_s = 30, .off_rate_per_s = 5, .on_s = 2, .off_s = 3};
  const double mean_rate = (30.0 * 2 + 5.0 * 3) / 5;
  const auto times = Draw(spec);
  const double observed = static_cast<double>(times.size()) / ToSeconds(times.back());
  EXPECT_NEAR(observed / mean_rate, 1, 0.02);
}

TEST(OnOffArrivals, AnOffPhaseOfRateZeroHasNoArrivals) {
  for (const Time time :
       Draw(OnOffArrivals{.on_rate_per_s = 20, .off_rate_per_s = 0, .on_s = 1, .off_s = 3})) {
    EXPECT_LE(std::fmod(ToSeconds(time), 4.0), 1 + 1e-9);
  }
}

TEST(OnOffArrivals, EqualRatesArePoissonWithTheSameDraws) {
  const auto poisson = Draw(PoissonArrivals{10}, 1000);
  const auto on_off = Draw(
      OnOffArrivals{.on_rate_per_s = 10, .off_rate_per_s = 10, .on_s = 0.7, .off_s = 0.4}, 1000);
  for (size_t i = 0; i < poisson.size(); ++i) {
    EXPECT_NEAR(ToSeconds(poisson[i] - on_off[i]), 0, 2e-9) << i;
  }
}

TEST(ArrivalProcess, TimesNeverGoBack) {
  for (const Arrivals& arrivals :
       {Arrivals{PoissonArrivals{1e9}}, Arrivals{GammaArrivals{.rate_per_s = 1e6, .cv = 10}},
        Arrivals{FixedRateArrivals{7e8}},
        Arrivals{
            OnOffArrivals{.on_rate_per_s = 1e8, .off_rate_per_s = 3, .on_s = 1e-7, .off_s = 1e-9}},
        Arrivals{ClosedLoop{4}}}) {
    Time before{};
    for (const Time time : Draw(arrivals)) {
      ASSERT_GE(time, before) << arrivals.index();
      before = time;
    }
  }
}

TEST(ArrivalProcess, EndsForEverBeyondTheLatestArrival) {
  for (const Arrivals& arrivals :
       {Arrivals{PoissonArrivals{1e-9}}, Arrivals{GammaArrivals{.rate_per_s = 1e-300, .cv = 1}},
        Arrivals{FixedRateArrivals{1e-9}},
        Arrivals{
            OnOffArrivals{.on_rate_per_s = 1e-9, .off_rate_per_s = 0, .on_s = 1, .off_s = 1}}}) {
    auto process = ArrivalProcess::Make(arrivals, Seed{.seed = 1});
    size_t count = 0;
    while (const auto time = process->Next()) {
      EXPECT_LE(*time, kMaxArrival);
      ASSERT_LT(++count, 1000u);
    }
    EXPECT_EQ(process->Next(), std::nullopt);
  }
}

TEST(ArrivalProcess, SeedAndReplicationGiveOtherArrivals) {
  const auto times = Draw(PoissonArrivals{1}, 10, {.seed = 1, .replication = 0});
  EXPECT_EQ(times, Draw(PoissonArrivals{1}, 10, {.seed = 1, .replication = 0}));
  EXPECT_NE(times, Draw(PoissonArrivals{1}, 10, {.seed = 2, .replication = 0}));
  EXPECT_NE(times, Draw(PoissonArrivals{1}, 10, {.seed = 1, .replication = 1}));
}

}  // namespace
}  // namespace moecast
