#include <algorithm>
#include <bit>
#include <cmath>

#include "sim/base/check.h"
#include "sim/base/interpolate.h"
#include "sim/base/stats.h"

namespace moecast {
namespace {

// A bucket is the set of positive doubles that agree in all but their last 42 bits: 2^10 buckets
// per octave, so a bucket's middle is within 2^-11 of each of its members.
constexpr int kBucketShift = 42;

uint64_t BucketOf(double value) { return std::bit_cast<uint64_t>(value) >> kBucketShift; }

double MiddleOf(uint64_t bucket) {
  return std::bit_cast<double>(bucket << kBucketShift | uint64_t{1} << (kBucketShift - 1));
}

}  // namespace

SampleSet::SampleSet(size_t exact_limit) : exact_limit_(exact_limit) { SIM_CHECK(exact_limit > 0); }

void SampleSet::Add(double value, uint64_t weight) {
  SIM_CHECK(std::isfinite(value) && value >= 0);
  if (weight == 0) return;
  min_ = count() == 0 ? value : std::min(min_, value);
  max_ = std::max(max_, value);
  moments_.Add({.count = weight,
                .sum = value * static_cast<double>(weight),
                .mean = value,
                .squared_deviations = 0});
  if (!exact_) return AddToHistogram(value, weight);
  if (!entries_.empty() && entries_.back().value == value) {
    entries_.back().weight += weight;
    return;
  }
  sorted_ = sorted_ && (entries_.empty() || entries_.back().value < value);
  entries_.push_back({value, weight});
  if (entries_.size() > exact_limit_ + exact_limit_ / 4) {
    SortAndCombine();
    if (entries_.size() > exact_limit_) BecomeHistogram();
  }
}

void SampleSet::Merge(const SampleSet& other) {
  SIM_CHECK(&other != this);
  if (other.count() == 0) return;
  min_ = count() == 0 ? other.min_ : std::min(min_, other.min_);
  max_ = std::max(max_, other.max_);
  moments_.Add(other.moments_);
  entries_.insert(entries_.end(), other.entries_.begin(), other.entries_.end());
  sorted_ = false;
  SortAndCombine();
  if (!other.exact_ || entries_.size() > exact_limit_ || !exact_) BecomeHistogram();
  if (other.zeros_ > 0) AddToHistogram(0, other.zeros_);
  for (size_t i = 0; i < other.histogram_.size(); ++i) {
    if (other.histogram_[i] > 0) {
      AddToHistogram(MiddleOf(other.first_bucket_ + i), other.histogram_[i]);
    }
  }
}

// Two groups' moments combined. [Chan83]
void SampleSet::Moments::Add(const Moments& others) {
  const auto before = static_cast<double>(count);
  count += others.count;
  sum += others.sum;
  const double share = static_cast<double>(others.count) / static_cast<double>(count);
  const double delta = others.mean - mean;
  mean += delta * share;
  squared_deviations += others.squared_deviations + delta * delta * before * share;
}

double SampleSet::mean() const {
  SIM_CHECK(count() > 0);
  return moments_.sum / static_cast<double>(count());
}

double SampleSet::standard_deviation() const {
  if (count() < 2) return 0;
  return std::sqrt(moments_.squared_deviations / static_cast<double>(count() - 1));
}

double SampleSet::Quantile(double p) const {
  SortAndCombine();
  return InterpolatedQuantile(count(), p, [this](uint64_t rank) { return OrderStatistic(rank); });
}

void SampleSet::SortAndCombine() const {
  if (sorted_) return;
  std::sort(entries_.begin(), entries_.end(),
            [](const Entry& a, const Entry& b) { return a.value < b.value; });
  size_t kept = 0;
  for (const Entry& entry : entries_) {
    if (kept > 0 && entries_[kept - 1].value == entry.value) {
      entries_[kept - 1].weight += entry.weight;
    } else {
      entries_[kept++] = entry;
    }
  }
  entries_.resize(kept);
  sorted_ = true;
}

void SampleSet::BecomeHistogram() {
  exact_ = false;
  for (const Entry& entry : entries_) AddToHistogram(entry.value, entry.weight);
  entries_ = {};
}

void SampleSet::AddToHistogram(double value, uint64_t weight) {
  if (value == 0) {
    zeros_ += weight;
    return;
  }
  const uint64_t bucket = BucketOf(value);
  if (histogram_.empty()) first_bucket_ = bucket;
  if (bucket < first_bucket_) {
    histogram_.insert(histogram_.begin(), first_bucket_ - bucket, 0);
    first_bucket_ = bucket;
  }
  const uint64_t slot = bucket - first_bucket_;
  if (slot >= histogram_.size()) histogram_.resize(slot + 1);
  histogram_[slot] += weight;
}

double SampleSet::OrderStatistic(uint64_t rank) const {
  if (rank == 0) return min_;
  if (rank >= count() - 1) return max_;
  uint64_t below = zeros_;
  if (rank < below) return 0;
  for (const Entry& entry : entries_) {
    below += entry.weight;
    if (rank < below) return entry.value;
  }
  for (size_t i = 0; i < histogram_.size(); ++i) {
    below += histogram_[i];
    if (rank < below) return std::clamp(MiddleOf(first_bucket_ + i), min_, max_);
  }
  return max_;
}

}  // namespace moecast
