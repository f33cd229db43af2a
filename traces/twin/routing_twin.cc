#include "traces/twin/routing_twin.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>
#include <utility>

#include "sim/base/text.h"
#include "traces/routing_codec.h"

namespace moecast {
namespace {

/// Collects what is wrong, field by field.
class Checks {
 public:
  void Count(const std::string& field, size_t have, size_t want) {
    if (have != want) {
      Fail(field, "has " + std::to_string(have) + " values, wanted are " + std::to_string(want));
    }
  }
  void Range(const std::string& field, double value, double least, double most) {
    if (value >= least && value <= most) return;  // false of NaN
    Fail(field, "is " + ShortestDouble(value) + ", allowed are " + ShortestDouble(least) + " to " +
                    ShortestDouble(most));
  }
  void Range(const std::string& field, std::span<const double> values, double least, double most) {
    for (const double value : values) {
      if (value >= least && value <= most) continue;
      return Range(field, value, least, most);
    }
  }
  void Fail(const std::string& field, const std::string& message) {
    errors_.push_back({field + " " + message, field});
  }
  Status Take() && { return errors_.empty() ? Ok() : Status(std::move(errors_)); }

 private:
  Errors errors_;
};

void CheckDomains(const RoutingTwin& twin, size_t rows, Checks& checks) {
  constexpr double kMostLength = 1024;
  if (twin.domains.empty()) checks.Fail("domains", "are none, wanted is at least one");
  double all = 0;
  for (size_t d = 0; d < twin.domains.size(); ++d) {
    const TwinDomain& domain = twin.domains[d];
    const std::string field = "domains[" + std::to_string(d) + "]";
    checks.Range(field + ".share", domain.share, 0, std::pow(kMaxAffinity, 2));
    checks.Range(field + ".length", domain.length, 1 / kMostLength, kMostLength);
    checks.Count(field + ".log_weights", domain.log_weights.size(), rows);
    checks.Range(field + ".log_weights", domain.log_weights, -kMaxLogWeight, kMaxLogWeight);
    all += domain.share;
  }
  if (!twin.domains.empty() && !(all > 0)) checks.Fail("domains", "have no share above 0");
  if (twin.order.sequences < 1) checks.Fail("order.sequences", "is below 1");
}

void CheckDistances(const RoutingTwin& twin, Checks& checks) {
  checks.Range("decay", twin.decay, 1 / kMaxAffinity, kMaxAffinity);
  int64_t last = 0;
  double all = 0;
  for (const DistanceShare& part : twin.distances) {
    if (part.first <= last || part.first > kMaxTwinDistance) {
      checks.Fail("distances", "must begin at ascending whole numbers from 1 to " +
                                   std::to_string(kMaxTwinDistance));
    }
    checks.Range("distances", part.share, 0, std::pow(kMaxAffinity, 2));
    last = part.first;
    all += part.share;
  }
  if (!twin.distances.empty() && !(all > 0)) checks.Fail("distances", "have no share above 0");
}

void CheckSources(const RoutingTwin& twin, size_t layers, Checks& checks) {
  checks.Count("topic_spread", twin.topic_spread.size(), layers);
  checks.Range("topic_spread", twin.topic_spread, 0, kMaxTopicSpread);
  checks.Count("stickiness", twin.stickiness.size(), layers);
  checks.Range("stickiness", twin.stickiness, 0, 1);
  checks.Range("kinds.count", static_cast<double>(twin.kinds.count), 1, kMaxTwinKinds);
  checks.Range("kinds.spread", twin.kinds.spread, 0, kMaxTopicSpread);
  checks.Range("kinds.stickiness", twin.kinds.stickiness, 0, 1);
  if (twin.topics < 0 || twin.topics > kMaxTwinSequences) {
    checks.Fail("topics", "is out of range");
  }
}

void CheckShape(const RoutingTwin& twin, size_t layers, Checks& checks) {
  if (twin.groups.size != 0) {
    checks.Range("groups.size", static_cast<double>(twin.groups.size), 1, twin.header.experts);
    checks.Count("groups.affinity", twin.groups.affinity.size(), layers);
    checks.Range("groups.affinity", twin.groups.affinity, 0, kMaxAffinity);
  }
  if (twin.header.has_scores) {
    const auto gaps = static_cast<size_t>(twin.header.top_k) - 1;
    checks.Count("scores.gaps", twin.scores.gaps.size(), layers * gaps);
    checks.Range("scores.gaps", twin.scores.gaps, 0, kMaxAffinity);
    checks.Count("scores.tail", twin.scores.tail.size(), layers);
    checks.Range("scores.tail", twin.scores.tail, 0, std::pow(kMaxAffinity, 2));
  }
}

void CheckLengths(const std::string& field, std::span<const double> lengths, Checks& checks) {
  if (lengths.empty()) checks.Fail(field, "has no value");
  const bool one = lengths.size() == 1;
  checks.Range(field, lengths, one ? 0 : 1, static_cast<double>(kMaxTwinTokens));
  if (!std::is_sorted(lengths.begin(), lengths.end())) {
    checks.Fail(field, "must be quantiles in ascending order");
  }
}

}  // namespace

void SetWeightsByHeat(const RoutingHeader& header, TwinDomain& domain) {
  const auto experts = static_cast<size_t>(header.experts);
  domain.log_weights.assign(header.moe_layers.size() * experts, 0);
  for (const TwinHeat& heat : domain.heat) {
    const auto from = static_cast<size_t>(std::lround(heat.from * header.experts));
    const auto to = static_cast<size_t>(std::lround(heat.to * header.experts));
    for (size_t i = 0; i < domain.log_weights.size(); ++i) {
      const bool hot = i % experts >= from && i % experts < to;
      if (hot) domain.log_weights[i] += std::log(heat.times);
    }
  }
}

Status CheckTwin(const RoutingTwin& twin) {
  if (const Status header = CheckHeader(twin.header); !header.ok()) return header;
  Checks checks;
  const size_t layers = twin.header.moe_layers.size();
  const int64_t rows = static_cast<int64_t>(layers) * twin.header.experts;
  if (rows > kMaxTwinRows) {
    checks.Fail("experts", "times MoE layers are " + std::to_string(rows) + ", allowed are up to " +
                               std::to_string(kMaxTwinRows));
    return std::move(checks).Take();
  }
  if (twin.kinds.count <= kMaxTwinKinds && rows * twin.kinds.count > kMaxTwinTables) {
    checks.Fail("kinds.count", "times experts times MoE layers are " +
                                   std::to_string(rows * twin.kinds.count) +
                                   ", allowed are up to " + std::to_string(kMaxTwinTables));
  }
  CheckDomains(twin, layers * static_cast<size_t>(twin.header.experts), checks);
  CheckDistances(twin, checks);
  CheckSources(twin, layers, checks);
  CheckShape(twin, layers, checks);
  CheckLengths("prefill_tokens", twin.prefill_tokens, checks);
  CheckLengths("decode_tokens", twin.decode_tokens, checks);
  if (twin.sequences < 0 || twin.sequences > kMaxTwinSequences) {
    checks.Fail("sequences", "is out of range");
  }
  return std::move(checks).Take();
}

}  // namespace moecast
