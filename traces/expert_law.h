// ExpertLaw: how likely a token is to choose each expert at each MoE layer, as tables from which
// one 32-bit word draws an expert. docs/model/synthetic_routing.md, Eqs. S1-S2.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sim/base/rng.h"

namespace moecast {

/// Shape of the law: gate logit = spread * (sqrt(1 - topic) * layer part + sqrt(topic) * topic
/// part).
struct ExpertLawSpec {
  int64_t layers = 0;
  int64_t experts = 0;        // 1 to 65535
  double spread = 0;          // >= 0
  double skew = 0;            // of the layer part
  double topic_strength = 0;  // in [0, 1]
};

/// The laws of all layers under one topic at a time. Weights are whole numbers before they become
/// tables, so that last-bit differences between mathematics libraries do not reach the draws.
class ExpertLaw {
 public:
  ExpertLaw(const ExpertLawSpec& spec, Seed seed);

  /// Makes the tables those of `topic`. COST: about 20 ns per (layer, expert); none if unchanged.
  void SetTopic(uint64_t topic);

  /// Packed alias columns of a layer, [expert]; see DrawExpert. REQUIRES: SetTopic was called.
  [[nodiscard]] std::span<const uint32_t> Columns(int64_t layer) const {
    return std::span(columns_).subspan(static_cast<size_t>(layer) * experts_, experts_);
  }

 private:
  void BuildColumns(std::span<const double> weights, std::span<uint32_t> columns);

  size_t experts_;
  Seed seed_;
  int64_t topic_ = -1;
  std::vector<double> layer_weights_;    // [layer][expert]
  std::vector<double> topic_weights_;    // [rank], to be permuted
  std::vector<uint32_t> columns_;        // [layer][expert]: threshold << 16 | alias
  std::vector<double> weights_;          // reused per layer: [expert]
  std::vector<uint32_t> shares_;         // reused per layer: [expert]
  std::vector<uint32_t> below_, above_;  // reused per layer: experts below and above the average
};

/// An expert drawn with 32 random bits: the high part picks a column, the next 16 bits a side of
/// it. [Vose91]
inline uint16_t DrawExpert(std::span<const uint32_t> columns, uint32_t bits) {
  const uint64_t scaled = uint64_t{bits} * columns.size();
  const uint64_t column = scaled >> 32;
  const uint32_t packed = columns[column];
  const bool own = ((scaled >> 16) & 0xffff) < (packed >> 16);
  return own ? static_cast<uint16_t>(column) : static_cast<uint16_t>(packed & 0xffff);
}

}  // namespace moecast
