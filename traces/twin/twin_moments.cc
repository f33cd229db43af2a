#include "traces/twin/twin_moments.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>
#include <span>

#include "sim/base/check.h"

namespace moecast {
namespace {

/// Calls `f(expert)` for each bit of a row.
template <class F>
void ForEachExpert(std::span<const uint64_t> row, F f) {
  for (size_t w = 0; w < row.size(); ++w) {
    for (uint64_t left = row[w]; left != 0; left &= left - 1) {
      f(w * 64 + static_cast<size_t>(std::countr_zero(left)));
    }
  }
}

/// Mean of a sum over pairs; 0 without pairs.
struct Mean {
  double sum = 0;
  double count = 0;
  void Add(std::span<const uint64_t> a, std::span<const uint64_t> b) {
    if (!IsKnown(a) || !IsKnown(b)) return;
    sum += static_cast<double>(Overlap(a, b));
    count += 1;
  }
  [[nodiscard]] double value() const { return count > 0 ? sum / count : 0; }
};

/// Expert counts of each domain, and sums over sequences of squared counts.
class Popularity {
 public:
  Popularity(const TwinSample& sample, size_t domains)
      : domains_(domains),
        layers_(sample.layers()),
        experts_(sample.experts()),
        counts_(domains * layers_ * experts_),
        known_(domains * layers_),
        within_(domains * layers_),
        within_pairs_(domains * layers_) {
    for (size_t s = 0; s < sample.sequences(); ++s) AddSequence(sample, s);
  }

  [[nodiscard]] std::vector<double> Inclusion() const {
    std::vector<double> inclusion(counts_.size());
    for (size_t i = 0; i < counts_.size(); ++i) {
      inclusion[i] = known_[i / experts_] > 0 ? counts_[i] / known_[i / experts_] : 0;
    }
    return inclusion;
  }

  /// Overlaps of two tokens at `layer`: any two, of two sequences, of two sequences of one domain.
  struct Overlaps {
    double pooled = 0;
    double across = 0;
    double in_domain = 0;
  };
  [[nodiscard]] Overlaps At(size_t layer) const {
    std::vector<double> all(experts_);
    double known = 0, within = 0, within_pairs = 0, squares = 0, domain_squares = 0, pairs = 0;
    for (size_t d = 0; d < domains_; ++d) {
      const size_t row = d * layers_ + layer;
      known += known_[row];
      within += within_[row];
      within_pairs += within_pairs_[row];
      pairs += known_[row] * known_[row];
      for (size_t e = 0; e < experts_; ++e) {
        all[e] += counts_[row * experts_ + e];
        domain_squares += std::pow(counts_[row * experts_ + e], 2);
      }
    }
    for (const double count : all) squares += count * count;
    Overlaps overlaps;
    overlaps.pooled = known > 0 ? squares / (known * known) : 0;
    overlaps.across = Ratio(squares - within, known * known - within_pairs, overlaps.pooled);
    overlaps.in_domain = Ratio(domain_squares - within, pairs - within_pairs, overlaps.across);
    return overlaps;
  }

 private:
  static double Ratio(double sum, double count, double otherwise) {
    return count > 0 ? sum / count : otherwise;
  }

  void AddSequence(const TwinSample& sample, size_t s) {
    std::vector<double> counts(layers_ * experts_);
    std::vector<double> known(layers_);
    for (int64_t t = sample.first(s); t < sample.end(s); ++t) {
      for (size_t l = 0; l < layers_; ++l) {
        const auto row = sample.row(t, l);
        known[l] += IsKnown(row) ? 1 : 0;
        ForEachExpert(row, [&](size_t e) { counts[l * experts_ + e] += 1; });
      }
    }
    const size_t first = sample.domain(s) * layers_;
    for (size_t l = 0; l < layers_; ++l) {
      known_[first + l] += known[l];
      within_pairs_[first + l] += known[l] * known[l];
    }
    for (size_t i = 0; i < counts.size(); ++i) {
      counts_[first * experts_ + i] += counts[i];
      within_[first + i / experts_] += counts[i] * counts[i];
    }
  }

  size_t domains_;
  size_t layers_;
  size_t experts_;
  std::vector<double> counts_;        // [domain][layer][expert]
  std::vector<double> known_;         // [domain][layer] rows
  std::vector<double> within_;        // [domain][layer]: sum over sequences of squared counts
  std::vector<double> within_pairs_;  // [domain][layer]: sum over sequences of squared rows
};

/// Overlap of adjacent tokens, and of those at a few lags from far_lag on.
void MeasureLags(const TwinSample& sample, int64_t far_lag, TwinMoments& moments) {
  const size_t layers = sample.layers();
  std::vector<Mean> adjacent(layers);
  std::vector<Mean> far(layers);
  for (size_t s = 0; s < sample.sequences(); ++s) {
    const auto add = [&](int64_t lag, std::vector<Mean>& to) {
      for (int64_t t = sample.first(s); t + lag < sample.end(s); ++t) {
        for (size_t l = 0; l < layers; ++l) to[l].Add(sample.row(t, l), sample.row(t + lag, l));
      }
    };
    add(1, adjacent);
    for (const int64_t lag : {far_lag, far_lag * 3 / 2, far_lag * 2, far_lag * 3}) add(lag, far);
  }
  for (size_t l = 0; l < layers; ++l) {
    moments.adjacent.push_back(adjacent[l].value());
    moments.far.push_back(far[l].value());
  }
}

/// Distinct experts of windows of 2, 4, .. far_lag tokens, side by side within each sequence. A
/// window's experts are those of its halves.
void MeasureWindows(const TwinSample& sample, int64_t far_lag, TwinMoments& moments) {
  const size_t row_words = sample.layers() * sample.words();
  const auto sizes = static_cast<size_t>(std::bit_width(static_cast<uint64_t>(far_lag)) - 1);
  std::vector<double> distinct(sizes);
  std::vector<double> windows(sizes);
  std::vector<uint64_t> bits;
  for (size_t s = 0; s < sample.sequences(); ++s) {
    const std::span<const uint64_t> rows = sample.rows(s);
    bits.assign(rows.begin(), rows.end());
    auto count = static_cast<size_t>(sample.tokens_of(s));
    for (size_t size = 0; size < sizes && count >= 2; ++size) {
      count /= 2;
      uint64_t found = 0;
      for (size_t i = 0; i < count * row_words; ++i) {
        const size_t half = i / row_words * 2 * row_words + i % row_words;
        bits[i] = bits[half] | bits[half + row_words];
        found += static_cast<uint64_t>(std::popcount(bits[i]));
      }
      distinct[size] += static_cast<double>(found);
      windows[size] += static_cast<double>(count * sample.layers());
    }
  }
  for (size_t i = 0; i < sizes; ++i) {
    moments.windows.push_back(windows[i] > 0 ? distinct[i] / windows[i] : 0);
  }
}

/// Two random tokens of two random sequences.
void MeasurePairs(const TwinSample& sample, const TwinMomentOptions& options,
                  TwinMoments& moments) {
  const size_t layers = sample.layers();
  if (sample.sequences() < 2 || layers < 2) return;
  RngStream rng(options.seed, "traces/twin/pairs");
  const auto random_token = [&](size_t sequence) {
    return sample.first(sequence) +
           static_cast<int64_t>(rng.NextBelow(static_cast<uint64_t>(sample.tokens_of(sequence))));
  };
  std::vector<double> means;
  std::vector<double> sums(layers);
  std::vector<double> squares(layers);
  for (int64_t i = 0; i < options.across_pairs; ++i) {
    const size_t a = rng.NextBelow(sample.sequences());
    size_t b = rng.NextBelow(sample.sequences() - 1);
    b += b >= a ? 1 : 0;
    const int64_t left = random_token(a);
    const int64_t right = random_token(b);
    double all = 0;
    for (size_t l = 0; l < layers; ++l) {
      const auto shared = static_cast<double>(Overlap(sample.row(left, l), sample.row(right, l)));
      sums[l] += shared;
      squares[l] += shared * shared;
      all += shared;
    }
    means.push_back(all / static_cast<double>(layers));
  }
  const auto n = static_cast<double>(means.size());
  const double mean = std::accumulate(means.begin(), means.end(), 0.0) / n;
  double variance = 0;
  for (const double of : means) {
    variance += std::pow(of - mean, 2) / n;
    moments.across_third += std::pow(of - mean, 3) / n;
  }
  double of_layers = 0;
  for (size_t l = 0; l < layers; ++l) of_layers += squares[l] / n - std::pow(sums[l] / n, 2);
  const auto count = static_cast<double>(layers);
  moments.across_covariance = (variance * count * count - of_layers) / (count * (count - 1));
}

}  // namespace

std::vector<double> GroupPairs(const TwinSample& sample, int64_t size) {
  std::vector<double> pairs(sample.layers());
  std::vector<double> rows(sample.layers());
  std::vector<uint32_t> in_group(sample.experts());
  for (int64_t t = 0; t < sample.tokens(); ++t) {
    for (size_t l = 0; l < sample.layers(); ++l) {
      const auto row = sample.row(t, l);
      if (!IsKnown(row)) continue;
      rows[l] += 1;
      ForEachExpert(row, [&](size_t e) { pairs[l] += in_group[e / static_cast<size_t>(size)]++; });
      ForEachExpert(row, [&](size_t e) { in_group[e / static_cast<size_t>(size)] = 0; });
    }
  }
  for (size_t l = 0; l < pairs.size(); ++l) pairs[l] = rows[l] > 0 ? pairs[l] / rows[l] : 0;
  return pairs;
}

TwinMoments MeasureMoments(const TwinSample& sample, const TwinMomentOptions& options) {
  SIM_CHECK(sample.tokens() >= 1 && options.far_lag >= 1);
  TwinMoments moments;
  const Popularity popularity(sample, options.domains);
  moments.inclusion = popularity.Inclusion();
  for (size_t l = 0; l < sample.layers(); ++l) {
    const Popularity::Overlaps overlaps = popularity.At(l);
    moments.pooled.push_back(overlaps.pooled);
    moments.across.push_back(overlaps.across);
    moments.in_domain.push_back(overlaps.in_domain);
  }
  MeasureLags(sample, options.far_lag, moments);
  MeasureWindows(sample, options.far_lag, moments);
  MeasurePairs(sample, options, moments);
  if (options.group_size > 0) moments.group_pairs = GroupPairs(sample, options.group_size);
  return moments;
}

}  // namespace moecast
