// Exact statistics of samples, and a memory-bounded set that says when it stopped being exact.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace moecast {

/// Mean of the samples, summed in order. REQUIRES: not empty.
double Mean(std::span<const double> samples);
/// Unbiased sample standard deviation; 0 for fewer than two samples.
double StandardDeviation(std::span<const double> samples);
/// The p-quantile, p in [0, 1], by linear interpolation between order statistics (NumPy's default,
/// so figures agree with those of `vllm bench serve`). Reorders `samples`. REQUIRES: not empty.
double Quantile(std::span<double> samples, double p);

/// A mean with its two-sided Student-t half width at the given confidence.
struct Interval {
  double mean = 0;
  double half_width = 0;  // 0 when there is one sample: unknown, see `samples`
  size_t samples = 0;
};
Interval ConfidenceInterval(std::span<const double> samples, double confidence);

/// Collects weighted non-negative samples. Exact while at most `exact_limit` distinct entries are held;
/// then it becomes a log-linear histogram whose quantiles err by at most 2^-11 relative, and exact()
/// turns false. Memory is bounded either way. The mean, sum, min and max stay exact.
class SampleSet {
 public:
  explicit SampleSet(size_t exact_limit = 1u << 20);

  /// Adds `weight` copies of `value`. REQUIRES: value finite and >= 0.
  void Add(double value, uint64_t weight = 1);
  /// Adds all of `other`'s samples.
  void Merge(const SampleSet& other);

  [[nodiscard]] bool exact() const { return exact_; }
  [[nodiscard]] uint64_t count() const { return count_; }
  [[nodiscard]] double mean() const;
  [[nodiscard]] double standard_deviation() const;
  [[nodiscard]] double min() const { return min_; }
  [[nodiscard]] double max() const { return max_; }
  /// The p-quantile over all copies. REQUIRES: count() > 0. COST: sorts once after new samples.
  [[nodiscard]] double Quantile(double p) const;

 private:
  struct Entry {
    double value;
    uint64_t weight;
  };
  void BecomeHistogram();
  void AddToHistogram(double value, uint64_t weight);

  size_t exact_limit_;
  bool exact_ = true;
  mutable bool sorted_ = true;
  mutable std::vector<Entry> entries_;  // exact mode
  std::vector<uint64_t> histogram_;     // histogram mode
  uint64_t count_ = 0;
  double sum_ = 0;
  double sum_of_squares_ = 0;
  double min_ = 0;
  double max_ = 0;
};

}  // namespace moecast
