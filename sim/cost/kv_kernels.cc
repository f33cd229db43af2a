#include "sim/cost/kv_kernels.h"

#include "sim/base/check.h"

namespace moecast {
namespace {

using enum Feature;

constexpr std::string_view kLatent = "mla_";

KvLaunch LaunchOf(const KvLayout& kv, std::string_view op) {
  std::string_view scheme = kv.scheme;
  if (scheme.starts_with(kLatent)) scheme.remove_prefix(kLatent.size());
  KvLaunch launch{.op = op, .format = scheme, .features = {}, .latent = kv.latent};
  KernelFeatures& f = launch.features;
  f[kKvHeads] = static_cast<double>(kv.kv_heads);
  f[kHeadDim] = static_cast<double>(kv.head_dim);
  f[kKeyBits] = kv.key_bits;
  f[kValueBits] = kv.value_bits;
  f[kGroup] = static_cast<double>(kv.group);
  f[kResidual] = static_cast<double>(kv.residual);
  return launch;
}

std::string_view KernelOf(const KvAppend& op) {
  switch (op.write) {
    case KvWrite::kAppend:
      return op.chunk_tokens > 0 ? "pack" : "append";  // one token per sequence is appended
    case KvWrite::kFlush:
      return "flush";
    case KvWrite::kConvert:
      return "pack";
  }
  SIM_CHECK(false);
}

}  // namespace

KvLaunch KvLaunchOf(const DecodeAttention& op) {
  KvLaunch launch = LaunchOf(op.kv, op.kv.latent ? "attend_mla" : "attend");
  launch.features[kBatch] = static_cast<double>(op.sequences);
  launch.features[kContext] = static_cast<double>(op.context);
  launch.features[kMaxContext] = static_cast<double>(op.longest_context);
  launch.features[kHeads] = static_cast<double>(op.heads);
  launch.features[kKvBytesPerToken] = op.kv_bytes_per_token;
  return launch;
}

KvLaunch KvLaunchOf(const PrefillAttention& op) {
  KvLaunch launch = LaunchOf(op.kv, op.kv.latent ? "mla_prefill" : "attend_prefill");
  launch.features[kBatch] = static_cast<double>(op.sequences);
  launch.features[kTokens] = static_cast<double>(op.tokens);
  launch.features[kMaxContext] = static_cast<double>(op.longest_context);
  launch.features[kContext] = static_cast<double>(op.context);
  launch.features[kHeads] = static_cast<double>(op.heads);
  launch.features[kKvBytesPerToken] = op.kv_bytes_per_token;
  launch.features[kPairs] = op.pairs;
  launch.features[kFlops] = op.pairs * op.flops_per_pair;
  return launch;
}

KvLaunch KvLaunchOf(const KvAppend& op) {
  KvLaunch launch = LaunchOf(op.kv, KernelOf(op));
  launch.features[kNewTokens] = static_cast<double>(op.tokens);
  if (op.write == KvWrite::kFlush) {
    // Flushes are measured by the sequences whose windows they empty.
    const int64_t window = op.kv.residual + 1;
    const int64_t sequences = (op.tokens + window - 1) / window;
    launch.features[kNewTokens] = static_cast<double>(sequences);
  }
  return launch;
}

std::optional<KernelTime> KvTime(ProfileCost& profile, const KvLaunch& launch, double floor) {
  // Layers of one model may keep keys and values in different bits.
  constexpr size_t kMostBits = 64;
  const auto slot = static_cast<size_t>(launch.features[kKeyBits]) * kMostBits +
                    static_cast<size_t>(launch.features[kValueBits]);
  return profile.Find(
      {.op = launch.op, .format = launch.format, .slot = slot, .latent = launch.latent},
      launch.features, floor);
}

}  // namespace moecast
