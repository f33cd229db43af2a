// ExpertLaw: how likely a token is to choose each expert at each MoE layer, as tables from which
// one 32-bit word draws an expert. docs/model/twin.md, Eqs. W1-W2.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sim/base/rng.h"

namespace moecast {

/// The laws of all layers under one domain and topic at a time. Weights are whole numbers before
/// they become tables, so that last-bit differences between mathematics libraries do not reach the
/// draws.
class ExpertLaw {
 public:
  /// REQUIRES: experts in [1, 65535], topic_spread [MoE layer] >= 0.
  ExpertLaw(int64_t experts, std::span<const double> topic_spread, Seed seed);

  /// Adds a domain, numbered from 0, by its log_weights [MoE layer][expert].
  void AddDomain(std::span<const double> log_weights);

  /// Makes the tables those of a domain and a topic. COST: about 20 ns per (layer, expert); none if
  /// unchanged.
  void Set(size_t domain, uint64_t topic);

  /// Packed alias columns of a layer, [expert]; see DrawExpert. REQUIRES: Set was called.
  [[nodiscard]] std::span<const uint32_t> Columns(int64_t layer) const {
    return std::span(columns_).subspan(static_cast<size_t>(layer) * experts_, experts_);
  }

 private:
  void BuildColumns(std::span<const double> weights, std::span<uint32_t> columns);

  size_t experts_;
  Seed seed_;
  bool has_topics_;
  int64_t domain_ = -1;
  uint64_t topic_ = 0;
  std::vector<std::vector<double>> weights_of_;  // [domain][layer * experts + expert]
  std::vector<double> topic_weights_;            // [layer][rank], each layer to be permuted
  std::vector<uint32_t> columns_;                // [layer][expert]: threshold << 16 | alias
  std::vector<double> weights_;                  // reused per layer: [expert]
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
