#include "calibration/serving/engine_groups.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <utility>

namespace moecast::serving {
namespace {

using Place = std::array<double, 5>;

Place PlaceOf(const SiliconRow& row) {
  return {std::log2(static_cast<double>(row.point.concurrency)), std::log2(row.point.input_tokens),
          std::log2(row.point.output_tokens), std::log2(static_cast<double>(row.gpus)),
          row.system == "h100_sxm" ? 0.0 : 1.0};
}

double Distance(const Place& a, const Place& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return std::sqrt(sum);
}

double SumOf(const Place& place) {
  double sum = 0;
  for (const double x : place) sum += x;
  return sum;
}

}  // namespace

std::vector<EngineGroup> GroupByEngine(std::span<const SiliconRow> rows) {
  std::map<std::pair<std::string, std::string>, EngineGroup> groups;
  for (const SiliconRow& row : rows) {
    EngineGroup& group = groups[{row.model, row.engine}];
    group.engine = row.engine;
    group.model = row.model;
    group.rows.push_back(row);
  }
  std::vector<EngineGroup> sorted;
  sorted.reserve(groups.size());
  for (auto& [key, group] : groups) sorted.push_back(std::move(group));
  return sorted;
}

std::vector<size_t> ChooseFitRows(const EngineGroup& group, size_t most) {
  std::vector<size_t> candidates;
  for (size_t i = 0; i < group.rows.size(); ++i) {
    if (group.rows[i].suspect.empty()) candidates.push_back(i);
  }
  std::vector<size_t> chosen;
  while (chosen.size() < std::min(most, candidates.size())) {
    size_t best = candidates.front();
    double farthest = -std::numeric_limits<double>::infinity();
    for (const size_t i : candidates) {
      const Place place = PlaceOf(group.rows[i]);
      double distance = chosen.empty() ? -SumOf(place) : std::numeric_limits<double>::infinity();
      for (const size_t c : chosen) {
        distance = std::min(distance, Distance(place, PlaceOf(group.rows[c])));
      }
      if (distance > farthest) {
        farthest = distance;
        best = i;
      }
    }
    chosen.push_back(best);
  }
  std::sort(chosen.begin(), chosen.end());
  return chosen;
}

}  // namespace moecast::serving
