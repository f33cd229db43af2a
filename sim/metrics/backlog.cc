#include "sim/metrics/backlog.h"

#include <algorithm>
#include <array>
#include <cstddef>

namespace moecast {
namespace {

constexpr size_t kMaxSamples = 1024;
constexpr size_t kQuarters = 4;
constexpr size_t kTailParts = 16;
constexpr double kGrowthShare = 0.02;  // of the arrivals; part of the verdict's definition

double MeanOf(std::span<const int64_t> values) {
  double sum = 0;
  for (const int64_t value : values) sum += static_cast<double>(value);
  return sum / static_cast<double>(values.size());
}

}  // namespace

Verdict Judge(const QueueSamples& samples) {
  const size_t count = samples.found.size();
  if (count < kTailParts) return Verdict::kStable;
  std::array<double, kQuarters> mean{};
  for (size_t k = 0; k < kQuarters; ++k) {
    const size_t begin = count * k / kQuarters;
    const size_t end = count * (k + 1) / kQuarters;
    mean[k] = MeanOf(samples.found.subspan(begin, end - begin));
  }
  const double arrivals = static_cast<double>(count) * static_cast<double>(samples.stride);
  const double quarter = arrivals / static_cast<double>(kQuarters);
  bool grows_throughout = true;
  for (size_t k = 1; k < kQuarters; ++k) {
    grows_throughout = grows_throughout && mean[k] - mean[k - 1] > kGrowthShare * quarter;
  }
  if (grows_throughout) return Verdict::kOverloaded;
  const double tail = MeanOf(samples.found.last(count / kTailParts));
  const double emptiest = *std::min_element(mean.begin(), mean.end());
  return tail - emptiest > kGrowthShare * arrivals ? Verdict::kBacklogged : Verdict::kStable;
}

void Backlog::OnArrival(int64_t waiting) {
  if (until_next_-- > 0) return;
  if (found_.size() == kMaxSamples) {
    for (size_t i = 0; i < kMaxSamples / 2; ++i) found_[i] = found_[2 * i];
    found_.resize(kMaxSamples / 2);
    stride_ *= 2;
  }
  found_.push_back(waiting);
  until_next_ = stride_ - 1;
}

}  // namespace moecast
