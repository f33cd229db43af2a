// RoutingRule: everything that decides which experts a token takes and with what weight. Plain
// numbers, one value per launch: a layer of its own k' has a rule of its own.
//
// A rule has three stages. Scores: what the model's router says of every expert. Batch: a set of
// experts that all tokens of the step share, or none. Skip: how many of its ranks a token keeps.
#pragma once

#include <cstdint>

#include "kernels/ops/route/skip_rule.h"

namespace moecast::kernels {

enum class ScoreKind : int32_t { kSoftmax, kSigmoid };

/// Which experts a token may choose, by the model's own design. Groups are equal runs of experts.
enum class GroupKind : int32_t {
  kNone,
  kLimited,   // those of the best groups; a group's score is the sum of its two best [DeepSeekV3]
  kBalanced,  // the best top_k / groups of every group                               [PanguMoGE]
};

/// By what the scores of the kept experts are divided.
enum class Renormalise : int32_t {
  kNone,  // nothing: softmax over all experts, or the sigmoid itself
  kKept,  // their own sum
  kMass,  // the sum of the token's best mass_k scores; mass_k = top_k is the native sum [Yang26]
};

/// The model's router. Choice is by score + bias, weight by score alone.
struct ScoreRule {
  ScoreKind score = ScoreKind::kSoftmax;
  GroupKind grouping = GroupKind::kNone;
  int32_t groups = 1;       // divides experts; divides top_k if balanced
  int32_t kept_groups = 1;  // kLimited
  Renormalise renormalise = Renormalise::kKept;
  int32_t mass_k = 0;  // kMass, at most kMaxTopK
  float scale = 1;     // of every weight, last
};

/// A set of experts for the whole batch; every token then takes its best top_k inside the set, and
/// where the set is smaller its last slots are skipped. Every token's best expert is in the set.
enum class BatchKind : int32_t {
  kNone,
  kOea,     // the union of every token's best base_k experts                          [OEA25]
  kXShare,  // every token's best, then by summed score up to `budget` experts         [XShare26]
};

struct BatchRule {
  BatchKind kind = BatchKind::kNone;
  int32_t base_k = 1;  // kOea
  int32_t budget = 0;  // kXShare
};

struct RoutingRule {
  ScoreRule score = {};
  BatchRule batch = {};
  SkipRule skip = {};
};

}  // namespace moecast::kernels
