#include "traces/twin/synthesis_tables.h"

#include <algorithm>
#include <cmath>

namespace moecast {
namespace {

/// The middle of the i-th of 2^bits equal parts of (0, 1).
double Middle(uint32_t i, int bits) {
  return (static_cast<double>(i) + 1.0 / 2.0) / static_cast<double>(1u << bits);
}

/// Distance n with P(distance >= n) = n^-decay.
int64_t PowerLaw(double place, double decay) {
  return static_cast<int64_t>(
      std::min(std::pow(place, -1 / decay), static_cast<double>(kMaxTwinDistance)));
}

/// Where the part ends: before the next one's first, the last at twice its own.
int64_t EndOf(std::span<const DistanceShare> parts, size_t part) {
  return part + 1 < parts.size() ? parts[part + 1].first : 2 * parts[part].first;
}

int64_t OfParts(std::span<const DistanceShare> parts, double place) {
  double all = 0;
  for (const DistanceShare& part : parts) all += part.share;
  double left = place * all;
  size_t part = 0;
  while (part + 1 < parts.size() && left >= parts[part].share) left -= parts[part++].share;
  const auto width = static_cast<double>(EndOf(parts, part) - parts[part].first);
  const double inside = parts[part].share > 0 ? left / parts[part].share : 0;
  return parts[part].first + static_cast<int64_t>(std::min(inside * width, width - 1));
}

}  // namespace

std::vector<int64_t> DistanceQuantiles(const RoutingTwin& twin) {
  std::vector<int64_t> distances(1u << kDistanceBits);
  for (uint32_t i = 0; i < distances.size(); ++i) {
    const double place = Middle(i, kDistanceBits);
    distances[i] =
        twin.distances.empty() ? PowerLaw(place, twin.decay) : OfParts(twin.distances, place);
  }
  return distances;
}

int64_t LengthAt(std::span<const double> quantiles, double place, double factor) {
  const double last = static_cast<double>(quantiles.size() - 1);
  const auto below = static_cast<size_t>(place * last);
  const size_t above = std::min(below + 1, quantiles.size() - 1);
  const double between = place * last - static_cast<double>(below);
  const double length = quantiles[below] + between * (quantiles[above] - quantiles[below]);
  if (length <= 0) return 0;
  return std::clamp<int64_t>(std::llround(length * factor), 1, kMaxTwinTokens);
}

ScoreTables MakeScoreTables(const RoutingTwin& twin) {
  constexpr double kWhole = 1 << 16;
  const size_t gaps_per_layer = static_cast<size_t>(twin.header.top_k) - 1;
  const std::vector<double>& gaps = twin.scores.gaps;
  const bool alike =
      gaps_per_layer == 0 || std::equal(gaps.begin() + static_cast<std::ptrdiff_t>(gaps_per_layer),
                                        gaps.end(), gaps.begin());
  ScoreTables tables;
  tables.ratios_per_layer = alike ? 0 : gaps_per_layer << kRatioBits;
  for (size_t i = 0; i < (alike ? gaps_per_layer : gaps.size()); ++i) {
    for (uint32_t q = 0; q < 1u << kRatioBits; ++q) {
      // Rounded, so that a mathematics library's last bit does not show.
      const double ratio = std::pow(Middle(q, kRatioBits), gaps[i]);
      tables.ratios.push_back(static_cast<float>(std::round(ratio * kWhole) / kWhole));
    }
  }
  return tables;
}

}  // namespace moecast
