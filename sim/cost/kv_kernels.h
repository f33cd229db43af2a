// Which measured kernel runs an op of the KV cache, and with which features a profile is asked.
// docs/model/calibration.md, "KV cache".
#pragma once

#include <optional>
#include <string_view>

#include "sim/cost/kernel_features.h"
#include "sim/cost/profile_cost.h"
#include "sim/model/op.h"

namespace moecast {

/// A kernel by its op and format, and the launch it is asked about.
struct KvLaunch {
  std::string_view op;
  std::string_view format;  // the scheme's name, without the mark of latent caches
  KernelFeatures features;
  bool latent = false;  // of a latent cache
};

KvLaunch KvLaunchOf(const DecodeAttention& op);
KvLaunch KvLaunchOf(const PrefillAttention& op);
KvLaunch KvLaunchOf(const KvAppend& op);

/// A launch's time from rows of its own scheme and layout; nothing where the profile has none.
std::optional<KernelTime> KvTime(ProfileCost& profile, const KvLaunch& launch, double floor);

}  // namespace moecast
