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

/// Collects weighted non-negative samples in bounded memory. Exact until more than `exact_limit`
/// distinct values are held (noticed at the latest by the time exact_limit / 4 more have come);
/// then it becomes a log-linear histogram whose quantiles err by at most 2^-11 relative, and
/// exact() turns false. Count, mean, minimum and maximum are those of the samples either way.
class SampleSet {
 public:
  /// REQUIRES: exact_limit > 0.
  explicit SampleSet(size_t exact_limit = size_t{1} << 20);

  /// Adds `weight` copies of `value`. REQUIRES: value finite and >= 0.
  void Add(double value, uint64_t weight = 1);
  /// Adds all of `other`'s samples. REQUIRES: other is not this set.
  void Merge(const SampleSet& other);

  [[nodiscard]] bool exact() const { return exact_; }
  [[nodiscard]] uint64_t count() const { return moments_.count; }
  /// REQUIRES: count() > 0.
  [[nodiscard]] double mean() const;
  /// Unbiased, over all copies; 0 for fewer than two. Streaming moments. [Chan83]
  [[nodiscard]] double standard_deviation() const;
  /// 0 when empty, as is max().
  [[nodiscard]] double min() const { return min_; }
  [[nodiscard]] double max() const { return max_; }
  /// The p-quantile over all copies, interpolated as in Quantile above. REQUIRES: count() > 0.
  /// COST: sorts once after new samples, then linear in the distinct values held.
  [[nodiscard]] double Quantile(double p) const;

 private:
  struct Entry {
    double value;
    uint64_t weight;
  };
  // Of all copies. Kept apart from the samples, so that they do not depend on exactness.
  struct Moments {
    uint64_t count = 0;
    double sum = 0;
    double mean = 0;
    double squared_deviations = 0;  // from the mean
    void Add(const Moments& others);
  };
  void SortAndCombine() const;
  void BecomeHistogram();
  void AddToHistogram(double value, uint64_t weight);
  [[nodiscard]] double OrderStatistic(uint64_t rank) const;

  size_t exact_limit_;
  bool exact_ = true;
  mutable bool sorted_ = true;
  mutable std::vector<Entry> entries_;  // exact mode
  uint64_t zeros_ = 0;                  // histogram mode: samples equal to 0
  uint64_t first_bucket_ = 0;           // histogram mode: bucket number of histogram_[0]
  std::vector<uint64_t> histogram_;     // histogram mode: weight per bucket
  Moments moments_;
  double min_ = 0;
  double max_ = 0;
};

}  // namespace moecast
