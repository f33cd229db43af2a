// StepCost::ProfiledTime: which kernel of a profile prices which op.
#include <algorithm>

#include "sim/cost/kv_kernels.h"
#include "sim/cost/op_class.h"
#include "sim/cost/step_cost.h"
#include "sim/model/computed_rows.h"

namespace moecast {
namespace {

using enum Feature;

KernelFeatures FeaturesOf(const Gemm& op) {
  KernelFeatures f;
  f[kTokens] = static_cast<double>(op.rows);
  f[kN] = static_cast<double>(op.n);
  f[kK] = static_cast<double>(op.k);
  return f;
}

KernelFeatures FeaturesOf(const Elementwise& op) {
  KernelFeatures f;
  f[kTokens] = static_cast<double>(op.rows);
  f[kWidth] = op.bytes_per_row;
  return f;
}

KernelFeatures FeaturesOf(const Collective& op) {
  KernelFeatures f;
  f[kRanks] = static_cast<double>(op.ranks);
  f[kMessageBytes] = op.bytes;
  return f;
}

constexpr std::string_view kPlainScheme = "bf16";
/// A collective moves bytes, whatever they stand for: importers name its format so.
constexpr std::string_view kMessage = "bytes";
constexpr double kPlainBits = 16;

/// Kernel names of roles; the table of forms (kernel_form.cc) has the same.
std::string_view KernelOf(ElementwiseRole role) {
  switch (role) {
    case ElementwiseRole::kNorm:
      return "norm";
    case ElementwiseRole::kRope:
      return "rope";
    case ElementwiseRole::kActivation:
      return "activation";
    case ElementwiseRole::kEmbedding:
      return "embedding";
    case ElementwiseRole::kSampling:
      return "sampling";
    case ElementwiseRole::kMlaPast:
      return "mla_past";
    case ElementwiseRole::kMlaKeys:
      return "mla_keys";
  }
  SIM_CHECK(false);
}

std::string_view KernelOf(CollectiveKind kind) {
  switch (kind) {
    case CollectiveKind::kAllReduce:
      return "all_reduce";
    case CollectiveKind::kAllGather:
      return "all_gather";
    case CollectiveKind::kReduceScatter:
      return "reduce_scatter";
    case CollectiveKind::kAllToAll:
      return "all_to_all";
  }
  SIM_CHECK(false);
}

/// Weights alone, and all arithmetic: what no kernel can avoid.
OpFeatures Unavoidable(const Gemm& op) {
  OpFeatures f = Features(op);
  f.bytes =
      Bytes(static_cast<double>(op.n) * static_cast<double>(op.k) * op.format->bytes_per_element());
  return f;
}

/// A product from rows of its own shape (gemm) or, failing that, from those of all shapes (dense).
std::optional<KernelTime> GemmTime(ProfileCost& profile, const Gemm& gemm) {
  const auto slot = static_cast<size_t>(gemm.role);
  KernelFeatures f = FeaturesOf(gemm);
  const double floor = profile.Floor(Unavoidable(gemm));
  const std::string_view format = gemm.format->name;
  const auto own = profile.Find({.op = "gemm", .format = format, .slot = slot}, f, floor);
  if (own) return own;
  f[kTokens] = static_cast<double>(ComputedRows(gemm.rows));
  return profile.Find({.op = "dense", .format = format, .slot = slot}, f, floor);
}

/// Latent attention's products that absorb, one per head: measured as one launch over all heads.
std::optional<KernelTime> AbsorbTime(ProfileCost& profile, const Gemm& gemm) {
  const bool query = gemm.role == GemmRole::kMlaAbsorbQuery;
  if (!query && gemm.role != GemmRole::kMlaAbsorbValue) return std::nullopt;
  KernelFeatures f = FeaturesOf(gemm);
  f[kN] *= static_cast<double>(gemm.batch);
  return profile.Find(
      {.op = query ? "absorb_query" : "absorb_value", .format = gemm.format->name, .slot = 0}, f,
      0);
}

/// A chunk attends to itself in bf16, whatever its cache stores: a scheme's kernel differs by what
/// it reads of the cached past. Where the scheme's rows do not reach, with less than kPastShare of
/// the pairs in the past, the time lies between that of a bf16 cache and the scheme's, by the
/// share.
std::optional<KernelTime> ChunkTime(ProfileCost& profile, const PrefillAttention& op) {
  constexpr double kPastShare = 2.0 / 3;
  const std::optional<KernelTime> own = KvTime(profile, KvLaunchOf(op), 0);
  const auto tokens = static_cast<double>(op.tokens);
  const double past = std::max(static_cast<double>(op.context) - tokens, 0.0);
  const double weight = past / (past + tokens / 2) / kPastShare;
  if (weight >= 1 || op.kv.scheme == kPlainScheme) return own;
  if (past > 0 && own && own->label != Label::kExtrapolated) return own;
  PrefillAttention in_bf16 = op;
  in_bf16.kv.scheme = kPlainScheme;
  in_bf16.kv.key_bits = in_bf16.kv.value_bits = kPlainBits;
  in_bf16.kv.group = in_bf16.kv.residual = 0;
  std::optional<KernelTime> plain = KvTime(profile, KvLaunchOf(in_bf16), 0);
  if (!own || !plain) return own;
  plain->seconds += weight * (own->seconds - plain->seconds);
  plain->label = std::max(plain->label, own->label);
  plain->band = {.half80 = std::max(plain->band.half80, own->band.half80),
                 .half95 = std::max(plain->band.half95, own->band.half95)};
  return plain;
}

}  // namespace

std::optional<KernelTime> StepCost::ProfiledTime(const Op& op) {
  ProfileCost& profile = *profile_;
  const std::string& activations = activation_format_;
  return std::visit(
      Overloaded{[&](const Gemm& gemm) -> std::optional<KernelTime> {
                   if (gemm.role == GemmRole::kRouter && profile.has_route()) return KernelTime{};
                   if (!gemm.read.whole()) return std::nullopt;
                   if (gemm.batch != 1) return AbsorbTime(profile, gemm);
                   return GemmTime(profile, gemm);
                 },
                 [&](const RouteTokens& route) -> std::optional<KernelTime> {
                   if (!profile.has_route()) return std::nullopt;
                   const auto rows = static_cast<double>(route.rows);
                   if (profile.has_route(route.selection))
                     return profile.RouteTime(rows, route.selection);
                   KernelTime time = profile.RouteTime(rows, SelectionKind::kNative);
                   time.seconds += rules_.Extra(route.selection, rows).count();
                   return time;
                 },
                 [&](const DecodeAttention& attention) -> std::optional<KernelTime> {
                   const double floor = profile.Floor(Features(attention));
                   const KvLaunch launch = KvLaunchOf(attention);
                   if (const auto own = KvTime(profile, launch, floor)) return own;
                   return profile.Find({.op = "decode_attention", .format = kv_format_, .slot = 0},
                                       launch.features, floor);
                 },
                 [&](const PrefillAttention& attention) -> std::optional<KernelTime> {
                   if (const auto own = ChunkTime(profile, attention)) return own;
                   return profile.Find({.op = "prefill_attention", .format = kv_format_, .slot = 0},
                                       KvLaunchOf(attention).features, 0);
                 },
                 [&](const Elementwise& each) -> std::optional<KernelTime> {
                   return profile.Find(
                       {.op = KernelOf(each.role), .format = activations, .slot = 0},
                       FeaturesOf(each), 0);
                 },
                 [&](const Collective& each) -> std::optional<KernelTime> {
                   return profile.Find({.op = KernelOf(each.kind), .format = kMessage, .slot = 0},
                                       FeaturesOf(each), 0);
                 },
                 [](const auto&) -> std::optional<KernelTime> { return std::nullopt; }},
      op);
}

}  // namespace moecast
