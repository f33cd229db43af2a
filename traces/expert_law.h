// ExpertLaw: how likely a token is to choose each expert at each MoE layer, as tables from which
// one 32-bit word draws an expert. docs/model/twin.md, Eqs. W1-W2.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sim/base/rng.h"
#include "traces/twin/routing_twin.h"

namespace moecast {

/// The laws of all kinds of token and all layers under one domain and topic at a time. Weights are
/// whole numbers before they become tables, so that last-bit differences between mathematics
/// libraries do not reach the draws.
class ExpertLaw {
 public:
  /// REQUIRES: CheckTwin(twin) is ok.
  ExpertLaw(const RoutingTwin& twin, Seed seed);

  /// Makes the laws those of a domain and a topic. COST: about 10 ns per (layer, expert); none if
  /// unchanged.
  void Set(size_t domain, uint64_t topic);

  /// Makes the tables of a kind, which Columns then reads. REQUIRES: Set was called. COST: about
  /// 20 ns per (layer, expert); none if it was made since Set.
  void SetKind(size_t kind);

  /// Packed alias columns of a layer, [expert]; see DrawExpert. REQUIRES: SetKind was called.
  [[nodiscard]] std::span<const uint32_t> Columns(int64_t layer) const {
    return std::span(columns_).subspan(first_ + static_cast<size_t>(layer) * experts_, experts_);
  }

 private:
  void BuildColumns(std::span<const double> weights, std::span<uint32_t> columns);

  size_t experts_;
  Seed seed_;
  bool has_topics_;
  int64_t domain_ = -1;
  uint64_t topic_ = 0;
  size_t first_ = 0;                             // of the kind's columns
  std::vector<std::vector<double>> weights_of_;  // [domain][layer * experts + expert]
  std::vector<double> topic_weights_;            // [layer][rank], each layer to be permuted
  std::vector<double> kind_weights_;             // [kind][layer][expert]; empty when all are alike
  std::vector<double> weights_;                  // [layer][expert] of the domain and the topic
  std::vector<bool> has_columns_;                // [kind]
  std::vector<uint32_t> columns_;                // [kind][layer][expert]: threshold << 16 | alias
  std::vector<double> kind_layer_;               // reused per layer: [expert]
  std::vector<uint32_t> shares_;                 // reused per layer: [expert]
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
