#include "calibration/serving/parameters.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "sim/base/check.h"
#include "sim/base/text.h"

namespace moecast::serving {
namespace {

constexpr std::array<std::string_view, kParameterCount> kNames{
    "host_per_step",     "experts",        "host_per_request", "host_per_prefill_token",
    "host_per_sequence", "experts_memory", "decode_attention", "collective",
    "prefill_attention", "gemm",
};

/// Host times of engines differ by powers of ten; shares of a peak by tenths.
const double kHostSpread = std::log(10.0);
const double kExpertsSpread = std::log(2.0);  // from tuned to untuned kernels
const double kShareSpread = std::log(1.25);
/// A base of zero would leave a logarithm nothing to start from.
constexpr double kLeastHost = 1e-7;  // seconds
/// Receiving and tokenising a prompt, where the base counts none: milliseconds, not microseconds.
constexpr double kLeastRequest = 5e-3;  // seconds

double& ValueOf(Parameter parameter, Efficiencies& e, Seconds*& host) {
  static_assert(kParameterCount == 10);
  switch (parameter) {
    case Parameter::kExperts:
      return e.experts.compute;
    case Parameter::kExpertsMemory:
      return e.experts.memory;
    case Parameter::kDecodeAttention:
      return e.decode_attention.memory;
    case Parameter::kCollective:
      return e.collective.memory;
    case Parameter::kPrefillAttention:
      return e.prefill_attention.compute;
    case Parameter::kGemm:
      return e.gemm.compute;
    case Parameter::kHostPerStep:
      host = &e.host_per_step;
      break;
    case Parameter::kHostPerRequest:
      host = &e.host_per_request;
      break;
    case Parameter::kHostPerPrefillToken:
      host = &e.host_per_prefill_token;
      break;
    case Parameter::kHostPerSequence:
      host = &e.host_per_sequence;
      break;
  }
  return e.gemm.compute;
}

Error Unknown(const std::string& name, const std::vector<std::string>& known) {
  std::string list;
  for (const std::string& one : known) {
    if (!list.empty()) list += ", ";
    list += one;
  }
  return {"unknown parameter '" + name + "'" + DidYouMean(name, known) + "; allowed: " + list,
          "--fit"};
}

}  // namespace

std::string_view ParameterName(Parameter parameter) {
  return kNames[static_cast<size_t>(parameter)];
}

std::vector<std::string> ParameterNames() { return {kNames.begin(), kNames.end()}; }

Result<std::vector<Parameter>> ParametersNamed(std::span<const std::string> names) {
  const std::vector<std::string> known = ParameterNames();
  std::vector<Parameter> parameters;
  for (const std::string& name : names) {
    const auto found = std::find(known.begin(), known.end(), name);
    if (found == known.end()) {
      return Unknown(name, known);
    }
    const auto parameter = static_cast<Parameter>(found - known.begin());
    if (std::find(parameters.begin(), parameters.end(), parameter) != parameters.end()) {
      return Error{"parameter '" + name + "' is given twice", "--fit"};
    }
    parameters.push_back(parameter);
  }
  return parameters;
}

Prior PriorOf(Parameter parameter, const Efficiencies& base) {
  Efficiencies copy = base;
  Seconds* host = nullptr;
  const double share = ValueOf(parameter, copy, host);
  if (host != nullptr) {
    const double least = parameter == Parameter::kHostPerRequest ? kLeastRequest : kLeastHost;
    return {.center = std::max(host->count(), least), .spread = kHostSpread};
  }
  const bool of_experts =
      parameter == Parameter::kExperts || parameter == Parameter::kExpertsMemory;
  return {.center = share, .spread = of_experts ? kExpertsSpread : kShareSpread, .most = 1};
}

double ValueAt(const Prior& prior, double z) {
  const double value = prior.center * std::exp(z);
  return prior.most > 0 ? std::min(value, prior.most) : value;
}

Efficiencies Apply(const Efficiencies& base, std::span<const Parameter> parameters,
                   std::span<const double> z) {
  SIM_CHECK(parameters.size() == z.size());
  Efficiencies moved = base;
  for (size_t i = 0; i < parameters.size(); ++i) {
    Seconds* host = nullptr;
    double& share = ValueOf(parameters[i], moved, host);
    const double value = ValueAt(PriorOf(parameters[i], base), z[i]);
    if (host != nullptr) {
      *host = Seconds(value);
    } else {
      share = value;
    }
  }
  return moved;
}

}  // namespace moecast::serving
