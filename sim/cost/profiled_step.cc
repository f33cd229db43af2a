// StepCost with a profile: which kernel prices which op, and how errors of ops join into the
// step's.
#include <algorithm>
#include <cmath>
#include <utility>

#include "sim/cost/kv_kernels.h"
#include "sim/cost/op_class.h"
#include "sim/cost/step_cost.h"

namespace moecast {
namespace {

using enum Feature;

/// Collects spreads by source, in seconds; sources join as independent errors do.
class SpreadSum {
 public:
  void Add(ErrorSource source, const ErrorBand& spread) {
    ErrorBand& sum = sums_[static_cast<size_t>(source)];
    sum.half80 += spread.half80;
    sum.half95 += spread.half95;
  }
  [[nodiscard]] ErrorBand Relative(Seconds total) const {
    ErrorBand squares;
    for (const ErrorBand& sum : sums_) {
      squares.half80 += sum.half80 * sum.half80;
      squares.half95 += sum.half95 * sum.half95;
    }
    return {.half80 = std::sqrt(squares.half80) / total.count(),
            .half95 = std::sqrt(squares.half95) / total.count()};
  }

 private:
  std::array<ErrorBand, kErrorSources> sums_{};
};

KernelFeatures FeaturesOf(const Gemm& op) {
  KernelFeatures f;
  f[kTokens] = static_cast<double>(op.rows);
  f[kN] = static_cast<double>(op.n);
  f[kK] = static_cast<double>(op.k);
  return f;
}

KernelFeatures FeaturesOf(const DecodeAttention& op) {
  KernelFeatures f;
  f[kBatch] = static_cast<double>(op.sequences);
  f[kContext] = static_cast<double>(op.context);
  f[kHeads] = static_cast<double>(op.heads);
  f[kKvBytesPerToken] = op.kv_bytes_per_token;
  return f;
}

KernelFeatures FeaturesOf(const PrefillAttention& op) {
  KernelFeatures f;
  f[kTokens] = static_cast<double>(op.tokens);
  f[kPairs] = op.pairs;
  f[kContext] = static_cast<double>(op.context);
  f[kHeads] = static_cast<double>(op.heads);
  f[kKvBytesPerToken] = op.kv_bytes_per_token;
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

/// A product from rows of its own shape (gemm) or, failing that, from the fit over all shapes
/// (dense).
std::optional<KernelTime> GemmTime(ProfileCost& profile, const Gemm& gemm) {
  const auto slot = static_cast<size_t>(gemm.role);
  const KernelFeatures f = FeaturesOf(gemm);
  const double floor = profile.Floor(Unavoidable(gemm));
  const std::string_view format = gemm.format->name;
  const auto own = profile.Find({.op = "gemm", .format = format, .slot = slot}, f, floor);
  if (own) return own;
  return profile.Find({.op = "dense", .format = format, .slot = slot}, f, floor);
}

/// A KV kernel from rows of its own scheme and layout.
std::optional<KernelTime> KvTime(ProfileCost& profile, const KvLaunch& launch, double floor) {
  // Layers of one model may keep keys and values in different bits.
  constexpr size_t kMostBits = 64;
  const auto slot = static_cast<size_t>(launch.features[kKeyBits]) * kMostBits +
                    static_cast<size_t>(launch.features[kValueBits]);
  return profile.Find({.op = launch.op, .format = launch.format, .slot = slot}, launch.features,
                      floor);
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

/// Experts read whole and stored alike, as measured kernels do.
bool IsEven(const ExpertGemm& op) { return op.read.whole() && op.mixed_format == nullptr; }

}  // namespace

void StepCost::Priced::Add(const KernelTime& each, double count) {
  const double seconds = each.seconds * count;
  time += Seconds(seconds);
  by_label[static_cast<size_t>(each.label)] += Seconds(seconds);
  spread.half80 += seconds * each.band.half80;
  spread.half95 += seconds * each.band.half95;
}

std::optional<KernelTime> StepCost::ProfiledTime(const Op& op) {
  ProfileCost& profile = *profile_;
  const std::string& activations = activation_format_;
  return std::visit(
      Overloaded{[&](const Gemm& gemm) -> std::optional<KernelTime> {
                   if (gemm.role == GemmRole::kRouter && profile.has_route()) return KernelTime{};
                   if (gemm.batch != 1 || !gemm.read.whole()) return std::nullopt;
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
                   if (const auto own = KvTime(profile, KvLaunchOf(attention), floor)) return own;
                   return profile.Find({.op = "decode_attention", .format = kv_format_, .slot = 0},
                                       FeaturesOf(attention), floor);
                 },
                 [&](const PrefillAttention& attention) -> std::optional<KernelTime> {
                   if (const auto own = ChunkTime(profile, attention)) return own;
                   return profile.Find({.op = "prefill_attention", .format = kv_format_, .slot = 0},
                                       FeaturesOf(attention), 0);
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

StepCost::Priced StepCost::PriceExperts(const ExpertGemm& op) {
  const auto ranks = static_cast<size_t>(op.ranks);
  Priced priced;
  for (size_t first = 0; first < op.loads.size(); first += ranks) {
    KernelTime slowest;
    for (const ExpertLoad& load : op.loads.subspan(first, ranks)) {
      if (load.assignments <= 0) continue;
      const KernelTime time = profile_->ExpertTime(routed_tokens_, load);
      if (time.seconds > slowest.seconds) slowest = time;
    }
    priced.Add(slowest, 1);
  }
  return priced;
}

std::optional<StepCost::Priced> StepCost::PriceWrites(const KvAppend& op, int64_t count) {
  KvAppend decodes = op;
  decodes.tokens -= std::exchange(decodes.chunk_tokens, 0);
  KvAppend chunks = op;
  chunks.tokens = op.chunk_tokens;
  Priced priced;
  for (const KvAppend& each : {decodes, chunks}) {
    if (each.tokens == 0) continue;
    const std::optional<KernelTime> time = KvTime(*profile_, KvLaunchOf(each), 0);
    if (!time) return std::nullopt;
    priced.Add(*time, static_cast<double>(count));
    priced.kernels += count;
  }
  return priced;
}

StepCost::Priced StepCost::PriceOf(const CountedOp& counted) {
  if (!profile_) return {.time = AnalyticTime(counted)};
  if (const auto* experts = std::get_if<ExpertGemm>(&counted.op)) {
    if (profile_->has_experts() && IsEven(*experts)) {
      Priced priced = PriceExperts(*experts);
      priced.kernels = counted.count;
      return priced;
    }
  }
  if (const auto* write = std::get_if<KvAppend>(&counted.op)) {
    if (const auto priced = PriceWrites(*write, counted.count)) return *priced;
  }
  Priced priced;
  if (const auto time = ProfiledTime(counted.op)) {
    priced.Add(*time, static_cast<double>(counted.count));
    if (time->seconds > 0) priced.kernels = counted.count;
    return priced;
  }
  priced.Add({.seconds = AnalyticTime(counted).count(),
              .label = Label::kAnalytic,
              .band = analytic_error_},
             1);
  return priced;
}

StepCost::Priced StepCost::GapsOf(int64_t kernels) const {
  Priced gaps;
  gaps.Add({.seconds = graph_gap_.count(), .label = Label::kAnalytic, .band = analytic_error_},
           static_cast<double>(kernels));
  return gaps;
}

StepTime StepCost::PredictProfiled(const StepShape& step, RowOps& rows) {
  std::array<Seconds, kStepPartCount> parts{};
  StepTime time;
  SpreadSum spreads;
  int64_t kernels = 0;
  const auto add = [&](const Priced& priced, StepPart part, ErrorSource source) {
    parts[static_cast<size_t>(part)] += priced.time;
    for (size_t i = 0; i < time.by_label.size(); ++i) time.by_label[i] += priced.by_label[i];
    spreads.Add(source, priced.spread);
    kernels += priced.kernels;
  };
  const auto add_rows = [&](size_t first, size_t end) {
    for (size_t i = first; i < end; ++i) {
      const RowOps::Each& each = rows.priced[i];
      add(each.by_load ? PriceLoads(rows.ops[i], step) : each.price, each.part, each.source);
    }
  };
  add_rows(0, rows.before);
  for (const CountedOp& counted : ops_) {
    const Priced priced = PriceOf(counted);
    if (std::holds_alternative<KvAppend>(counted.op)) time.cache_writes += priced.time;
    add(priced, PartOf(counted.op), SourceOf(counted.op));
  }
  add_rows(rows.before, rows.ops.size());
  add(GapsOf(kernels), StepPart::kDense, ErrorSource::kElementwise);
  const Seconds gpu = parts[0] + parts[1] + parts[2] + parts[3];
  const int64_t launches = rows.launches + LaunchCount(ops_);
  for (const Seconds item : HostTimes(step, gpu, launches)) time.host += item;
  const double host = time.host.count();
  spreads.Add(ErrorSource::kHost,
              {.half80 = host * analytic_error_.half80, .half95 = host * analytic_error_.half95});
  time.by_label[static_cast<size_t>(Label::kAnalytic)] += time.host;
  time.attention = parts[static_cast<size_t>(StepPart::kAttention)];
  time.experts = parts[static_cast<size_t>(StepPart::kExperts)];
  time.dense = parts[static_cast<size_t>(StepPart::kDense)];
  time.collectives = parts[static_cast<size_t>(StepPart::kCollectives)];
  const Seconds sum = gpu + time.host;
  time.band = spreads.Relative(sum);
  double shift = 0;
  if (quantile_ == StepQuantile::kFast) shift = -time.band.half95;
  if (quantile_ == StepQuantile::kSlow) shift = time.band.half95;
  time.total = RoundUpToNs(shift == 0 ? sum : sum * std::exp(shift));
  return time;
}

void StepCost::ExplainProfile(const CountedOp& counted, OpLine& line) {
  const auto note = [&line](const std::string& text) {
    line.note += (line.note.empty() ? "" : "; ") + text;
  };
  const Priced priced = PriceOf(counted);
  for (size_t i = 0; i < priced.by_label.size(); ++i) {
    if (priced.by_label[i].count() > 0)
      line.label = static_cast<Label>(i);  // the worst that occurs
  }
  if (const auto* experts = std::get_if<ExpertGemm>(&counted.op)) {
    if (profile_->has_experts() && IsEven(*experts) && !experts->loads.empty()) {
      note("first layer: " + profile_->DescribeExperts(routed_tokens_, experts->loads.front()));
    }
    return;
  }
  const auto* gemm = std::get_if<Gemm>(&counted.op);
  if (gemm != nullptr && gemm->role == GemmRole::kRouter && profile_->has_route()) {
    line.label = Label::kMeasured;
    note("inside the route kernel");
    return;
  }
  if (std::holds_alternative<RouteTokens>(counted.op) && profile_->has_route()) {
    const SelectionKind rule = std::get<RouteTokens>(counted.op).selection;
    note(profile_->DescribeRoute(routed_tokens_,
                                 profile_->has_route(rule) ? rule : SelectionKind::kNative));
  } else if (line.label != Label::kAnalytic) {
    note(profile_->DescribeLast());
  }
}

}  // namespace moecast
