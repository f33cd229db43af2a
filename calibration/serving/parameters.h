// The few constants of a serving engine that a fit may move, with what is believed of each before
// any point is seen. docs/model/engine_overheads.md.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sim/base/result.h"
#include "sim/cost/efficiency.h"

namespace moecast::serving {

/// In the order in which a fit of few points takes them.
enum class Parameter {
  kHostPerStep,
  kExperts,  // share of the dense peak that expert products reach
  kHostPerRequest,
  kHostPerPrefillToken,
  kHostPerSequence,
  kExpertsMemory,     // share of memory bandwidth that expert products reach
  kDecodeAttention,   // share of memory bandwidth
  kCollective,        // share of link bandwidth
  kPrefillAttention,  // share of the dense peak
  kGemm,              // share of the dense peak
};
inline constexpr int kParameterCount = 10;

std::string_view ParameterName(Parameter parameter);
/// Every name, in order.
std::vector<std::string> ParameterNames();
/// ERRORS: an unknown or doubled name.
Result<std::vector<Parameter>> ParametersNamed(std::span<const std::string> names);

/// Belief about ln(value / center): normal, mean 0, deviation `spread`. Efficiencies and host times
/// are positive, so a fit moves their logarithms.
struct Prior {
  double center = 0;  // the base value; seconds, or a share
  double spread = 0;  // of the logarithm
  double most = 0;    // largest value allowed; 0: none
};
Prior PriorOf(Parameter parameter, const Efficiencies& base);

/// `base` with each parameter at center * exp(z).
Efficiencies Apply(const Efficiencies& base, std::span<const Parameter> parameters,
                   std::span<const double> z);
/// center * exp(z), at most the prior's `most`.
double ValueAt(const Prior& prior, double z);

}  // namespace moecast::serving
