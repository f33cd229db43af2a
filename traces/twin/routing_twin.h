// RoutingTwin: what is known of a model's routing, without the routing: how likely each expert is,
// what sequences, tokens and layers have in common, and the shape of gate scores. Fitted to a trace
// (twin_fit.h), read from YAML (twin_yaml.h) or made from a scenario's parameters
// (parametric_twin.h); RoutingSynthesiser draws traces from it. docs/model/twin.md has the
// equations.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sim/base/result.h"
#include "traces/group_limit.h"
#include "traces/routing_chunk.h"

namespace moecast {

/// Experts from..to, as fractions of all, that weigh `times` as much as others at every layer.
struct TwinHeat {
  double from = 0;
  double to = 1;
  double times = 1;
  friend bool operator==(const TwinHeat&, const TwinHeat&) = default;
};

/// A kind of text with its own popularity of experts.
struct TwinDomain {
  std::string name = {};
  double share = 1;                      // of sequences; shares are relative to their sum
  double length = 1;                     // factor on the lengths of its sequences
  std::vector<double> log_weights = {};  // [MoE layer][expert], in nats
  bool by_heat = false;                  // log_weights are those of `heat`, for any shape
  std::vector<TwinHeat> heat = {};
  friend bool operator==(const TwinDomain&, const TwinDomain&) = default;
};

/// How the sequences of several domains follow one another.
struct TwinOrder {
  bool in_turn = false;   // one domain after the other; else drawn by share
  int64_t sequences = 1;  // in turn: consecutive sequences of one domain
  friend bool operator==(const TwinOrder&, const TwinOrder&) = default;
};

/// A part of the law of the distance to the token that a token takes after: all distances from
/// `first` to before the next part's are alike.
struct DistanceShare {
  int64_t first = 1;
  double share = 0;  // relative to the sum
  friend bool operator==(const DistanceShare&, const DistanceShare&) = default;
};

/// Kinds of token, alike in all sequences, each with its own preferences at all layers.
struct TwinKinds {
  int64_t count = 1;
  double spread = 0;      // deviation of a kind's part of a logit, in nats
  double stickiness = 0;  // chance that a token is of the kind of the one it takes after
  uint64_t seed = 1;      // of the preferences: a twin's kinds are the same in every trace
  friend bool operator==(const TwinKinds&, const TwinKinds&) = default;
};

/// Blocks of adjacent experts that repel or attract one another in a row.
struct TwinGroups {
  int64_t size = 0;              // experts of a block; 0: none
  std::vector<double> affinity;  // [MoE layer]: odds of an expert whose block the row has, over
                                 // those of one whose block it has not
  friend bool operator==(const TwinGroups&, const TwinGroups&) = default;
};

struct TwinScores {
  std::vector<double> gaps;  // [MoE layer][rank 1..k-1]: mean of ln(score of rank / of the next)
  std::vector<double> tail;  // [MoE layer]: scores of the experts not chosen over the k-th's
  friend bool operator==(const TwinScores&, const TwinScores&) = default;
};

struct RoutingTwin {
  RoutingHeader header;             // of the traces drawn from it
  std::vector<TwinDomain> domains;  // at least one
  TwinOrder order;
  int64_t topics = 0;                // sequences share this many; 0: each has its own
  std::vector<double> topic_spread;  // [MoE layer]: deviation of a topic's part of a logit, in nats
  std::vector<double> stickiness;    // [MoE layer]: chance that a rank keeps an earlier token's
  std::vector<DistanceShare> distances;  // of that token; empty: by `decay`
  double decay = 1.0 / 2;                // P(distance >= n) = n^-decay
  TwinKinds kinds;
  TwinGroups groups;
  GroupLimitSpec limit;                // of the model's router, which every row obeys
  TwinScores scores;                   // used when the header has scores
  int64_t sequences = 0;               // in a trace
  std::vector<double> prefill_tokens;  // quantiles of a sequence's lengths, evenly spaced; one
  std::vector<double> decode_tokens;   // value: all alike
};

/// Sets log_weights to those of the domain's heat for a shape.
void SetWeightsByHeat(const RoutingHeader& header, TwinDomain& domain);

/// Ok, or everything that keeps a twin from being drawn from, each as field and reason.
Status CheckTwin(const RoutingTwin& twin);

inline constexpr double kMaxLogWeight = 200;  // exp() of it stays a normal number
inline constexpr double kMaxTopicSpread = 10;
inline constexpr double kMaxAffinity = 1000;
inline constexpr int64_t kMaxTwinSequences = 1 << 24;
inline constexpr int64_t kMaxTwinTokens = 1 << 20;  // of a sequence, which is held in memory
inline constexpr int64_t kMaxTwinKinds = 256;
inline constexpr int64_t kMaxTwinRows = int64_t{1} << 22;    // MoE layers * experts
inline constexpr int64_t kMaxTwinTables = int64_t{1} << 25;  // kinds * MoE layers * experts
inline constexpr int64_t kMaxTwinDistance = 1 << 30;

}  // namespace moecast
