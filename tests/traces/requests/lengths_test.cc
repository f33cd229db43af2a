#include "traces/lengths.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "sim/base/stats.h"
#include "tests/support/distribution_distance.h"
#include "tests/traces/requests/request_files.h"
#include "traces/request.h"

namespace moecast {
namespace {

constexpr size_t kCount = 100'000;

std::vector<RequestLengths> Draw(const Length& input, const Length& output, size_t count = kCount) {
  const auto sampler = LengthSampler::Make(
      {.arrivals = PoissonArrivals{1}, .input = input, .output = output}, Seed{.seed = 3});
  std::vector<RequestLengths> lengths;
  for (size_t i = 0; i < count; ++i) lengths.push_back(sampler->Sample(i));
  return lengths;
}

std::vector<double> Inputs(const std::vector<RequestLengths>& lengths) {
  std::vector<double> inputs;
  for (const RequestLengths& length : lengths) inputs.push_back(length.input_tokens);
  return inputs;
}

std::vector<double> Outputs(const std::vector<RequestLengths>& lengths) {
  std::vector<double> outputs;
  for (const RequestLengths& length : lengths) outputs.push_back(length.output_tokens);
  return outputs;
}

double Correlation(const std::vector<double>& a, const std::vector<double>& b) {
  const double mean_a = Mean(a);
  const double mean_b = Mean(b);
  double covariance = 0;
  for (size_t i = 0; i < a.size(); ++i) covariance += (a[i] - mean_a) * (b[i] - mean_b);
  return covariance / static_cast<double>(a.size()) / StandardDeviation(a) / StandardDeviation(b);
}

TEST(FixedLength, IsTheLength) {
  for (const auto& length : Draw(FixedLength{1024}, FixedLength{1}, 10)) {
    EXPECT_EQ(length, (RequestLengths{.input_tokens = 1024, .output_tokens = 1}));
  }
}

TEST(UniformLength, ReachesBothEndsEvenly) {
  std::map<int32_t, size_t> counts;
  for (const auto& length : Draw(UniformLength{3, 12}, FixedLength{1}))
    ++counts[length.input_tokens];
  ASSERT_EQ(counts.size(), 10u);
  EXPECT_EQ(counts.begin()->first, 3);
  EXPECT_EQ(counts.rbegin()->first, 12);
  const double expected = kCount / 10.0;
  double chi_squared = 0;
  for (const auto& [tokens, count] : counts) {
    chi_squared += std::pow(static_cast<double>(count) - expected, 2) / expected;
  }
  EXPECT_LT(chi_squared, 45);  // 9 degrees of freedom: one in a million
}

TEST(LognormalLength, HasTheMeanAndCvOfTheVariableItself) {
  const double mean = 1000;
  const double cv = 0.8;
  const auto lengths = Inputs(Draw(
      LognormalLength{
          .mean_tokens = mean, .cv = cv, .min_tokens = 1, .max_tokens = kMaxRequestTokens},
      FixedLength{1}));
  const double sqrt_count = std::sqrt(static_cast<double>(kCount));
  EXPECT_NEAR(Mean(lengths) / mean, 1, 5 * cv / sqrt_count);
  EXPECT_NEAR(StandardDeviation(lengths) / mean, cv, 0.03);
  // Half a token of rounding moves the distribution function by at most half the density's maximum.
  const double sigma = std::sqrt(std::log1p(cv * cv));
  const double mu = std::log(mean) - sigma * sigma / 2;
  const double distance = test::KolmogorovDistance(lengths, [&](double tokens) {
    return 0.5 * std::erfc(-(std::log(tokens + 0.5) - mu) / sigma / std::sqrt(2.0));
  });
  EXPECT_LT(distance, test::KolmogorovLimit(lengths.size()) + 0.001);
}

TEST(LognormalLength, IsCutToItsRange) {
  const auto lengths =
      Inputs(Draw(LognormalLength{.mean_tokens = 100, .cv = 2, .min_tokens = 20, .max_tokens = 300},
                  FixedLength{1}));
  EXPECT_EQ(*std::min_element(lengths.begin(), lengths.end()), 20);
  EXPECT_EQ(*std::max_element(lengths.begin(), lengths.end()), 300);
}

TEST(LognormalLength, CvZeroIsTheRoundedMean) {
  for (const auto& length :
       Draw(LognormalLength{.mean_tokens = 99.6, .cv = 0, .min_tokens = 1, .max_tokens = 500},
            FixedLength{1}, 10)) {
    EXPECT_EQ(length.input_tokens, 100);
  }
}

TEST(LengthSampler, InputAndOutputAreIndependent) {
  const Length law =
      LognormalLength{.mean_tokens = 500, .cv = 1, .min_tokens = 1, .max_tokens = 9999};
  const auto lengths = Draw(law, law);
  EXPECT_NEAR(Correlation(Inputs(lengths), Outputs(lengths)), 0, 0.02);
}

TEST(LengthSampler, OneLengthDoesNotDependOnTheOthersLaw) {
  const Length law = UniformLength{1, 1000};
  EXPECT_EQ(Outputs(Draw(FixedLength{5}, law, 100)), Outputs(Draw(law, law, 100)));
  EXPECT_EQ(Inputs(Draw(law, FixedLength{5}, 100)), Inputs(Draw(law, law, 100)));
}

class EmpiricalLengths : public testing::Test {
 protected:
  test::TemporaryFolder folder_;
};

TEST_F(EmpiricalLengths, OneFileForBothKeepsRowsTogether) {
  const EmpiricalLength file{
      test::WriteText(folder_, "a.csv", "input_tokens,output_tokens\n10,1\n20,2\n30,3\n30,3\n")};
  std::map<int32_t, size_t> counts;
  for (const auto& length : Draw(file, EmpiricalLength{folder_ / "." / "a.csv"})) {
    ASSERT_EQ(length.input_tokens, 10 * length.output_tokens);
    ++counts[length.output_tokens];
  }
  const double sigma = std::sqrt(0.25 * 0.75 * kCount);
  EXPECT_NEAR(static_cast<double>(counts[1]), 0.25 * kCount, 5 * sigma);
  EXPECT_NEAR(static_cast<double>(counts[2]), 0.25 * kCount, 5 * sigma);
  EXPECT_EQ(counts[1] + counts[2] + counts[3], kCount);
}

TEST_F(EmpiricalLengths, TwoFilesAreDrawnIndependently) {
  const std::string rows = "input_tokens,output_tokens\n10,1\n20,2\n30,3\n";
  const EmpiricalLength a{test::WriteText(folder_, "a.csv", rows)};
  const EmpiricalLength b{test::WriteText(folder_, "b.csv", rows)};
  const auto lengths = Draw(a, b);
  EXPECT_NEAR(Correlation(Inputs(lengths), Outputs(lengths)), 0, 0.02);
}

TEST_F(EmpiricalLengths, GoesWithAnotherLawOnTheOtherSide) {
  const EmpiricalLength file{
      test::WriteText(folder_, "a.csv", "input_tokens,output_tokens\n10,1\n10,2\n")};
  for (const auto& length : Draw(file, FixedLength{7}, 10)) {
    EXPECT_EQ(length, (RequestLengths{.input_tokens = 10, .output_tokens = 7}));
  }
}

TEST_F(EmpiricalLengths, TakeAnyCsvTraceAndLeaveOutItsFailedRequests) {
  const EmpiricalLength burst{
      test::WriteText(folder_, "burst.csv",
                      "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log "
                      "Type\n9,M,3,0,3,L\n5,M,4,2,6,L\n")};
  for (const auto& length : Draw(burst, burst, 10)) {
    EXPECT_EQ(length, (RequestLengths{.input_tokens = 4, .output_tokens = 2}));
  }
  const EmpiricalLength azure{test::WriteText(
      folder_, "azure.csv",
      "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.9799600,48,10\n")};
  EXPECT_EQ(Draw(azure, azure, 1)[0].input_tokens, 48);
}

}  // namespace
}  // namespace moecast
