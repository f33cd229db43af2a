// StepCost with a profile: the prices of ops from their kernels' times, the gaps between kernels,
// and how errors of ops join into the step's.
#include <algorithm>
#include <cmath>
#include <utility>

#include "sim/cost/kv_kernels.h"
#include "sim/cost/op_class.h"
#include "sim/cost/step_cost.h"

namespace moecast {
namespace {

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

/// Whether a cache holds less than the numbers that attention computes with.
bool IsInCodes(const KvLayout& kv) {
  constexpr double kPlainBits = 16;
  return kv.key_bits < kPlainBits || kv.value_bits < kPlainBits;
}

/// How often a kernel that takes `each` seconds has a gap.
int64_t GapsOf(double each, int64_t count) { return each > 0 ? count : 0; }

/// Experts read whole and stored alike, as measured kernels do.
bool IsEven(const ExpertGemm& op) { return op.read.whole() && op.mixed_format == nullptr; }

}  // namespace

void StepCost::Priced::Add(const KernelTime& each, int64_t count) {
  const double seconds = each.seconds * static_cast<double>(count);
  time += Seconds(seconds);
  by_label[static_cast<size_t>(each.label)] += Seconds(seconds);
  spread.half80 += seconds * each.band.half80;
  spread.half95 += seconds * each.band.half95;
}

void StepCost::Priced::Add(const Priced& other) {
  time += other.time;
  for (size_t i = 0; i < by_label.size(); ++i) by_label[i] += other.by_label[i];
  spread.half80 += other.spread.half80;
  spread.half95 += other.spread.half95;
}

Label StepCost::Priced::Worst(Label otherwise) const {
  for (size_t i = by_label.size(); i-- > 0;) {
    if (by_label[i].count() > 0) return static_cast<Label>(i);
  }
  return otherwise;
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

std::optional<StepCost::Priced> StepCost::PriceWrites(const KvAppend& op, int64_t count,
                                                      Gaps& gaps) {
  if (op.write == KvWrite::kFlush) return PriceFlush(op, count);
  KvAppend decodes = op;
  decodes.tokens -= std::exchange(decodes.chunk_tokens, 0);
  KvAppend chunks = op;
  chunks.tokens = op.chunk_tokens;
  Priced priced;
  for (const KvAppend& each : {decodes, chunks}) {
    if (each.tokens == 0) continue;
    const std::optional<KernelTime> time = KvTime(*profile_, KvLaunchOf(each), 0);
    if (!time) return std::nullopt;
    priced.Add(*time, count);
    const int64_t launches = GapsOf(time->seconds, count);
    gaps.Add({.kernels = launches, .in_codes = IsInCodes(op.kv) ? launches : 0});
  }
  return priced;
}

std::optional<StepCost::Priced> StepCost::PriceFlush(const KvAppend& op, int64_t count) {
  KvAppend decodes = op;
  decodes.tokens -= std::exchange(decodes.chunk_tokens, 0);
  if (decodes.tokens == 0) return Priced{};
  // Flushes are measured as launches that append too.
  const KvLaunch flush = KvLaunchOf(decodes);
  KvLaunch append = flush;
  append.op = "append";
  std::optional<KernelTime> both = KvTime(*profile_, flush, 0);
  const std::optional<KernelTime> one = KvTime(*profile_, append, 0);
  if (!both || !one) return std::nullopt;
  both->seconds = std::max(both->seconds - one->seconds, 0.0);
  Priced priced;
  priced.Add(*both, count);
  return priced;
}

StepCost::Priced StepCost::PriceGaps(const StepShape& step, int64_t kernels) const {
  const bool prompts = std::ranges::any_of(
      step.attention, [](const AttentionLoad& load) { return load.prefill_chunks > 0; });
  const Seconds each = prompts ? graph_gap_ + prompt_gap_ : graph_gap_;
  Priced priced;
  priced.Add({.seconds = each.count(), .label = Label::kAnalytic, .band = analytic_error_},
             kernels);
  return priced;
}

StepCost::Priced StepCost::PriceNarrowGaps(int64_t kernels) const {
  Priced priced;
  priced.Add({.seconds = narrow_gap_.count(), .label = Label::kAnalytic, .band = analytic_error_},
             kernels);
  return priced;
}

std::optional<StepCost::Priced> StepCost::ProfiledPrice(const CountedOp& counted, Gaps& gaps) {
  if (const auto* experts = std::get_if<ExpertGemm>(&counted.op)) {
    if (!profile_->has_experts() || !IsEven(*experts)) return std::nullopt;
    const Priced priced = PriceExperts(*experts);
    const double each = priced.time.count() / static_cast<double>(counted.count);
    gaps.kernels += GapsOf(each, counted.count);
    return priced;
  }
  if (const auto* write = std::get_if<KvAppend>(&counted.op)) {
    return PriceWrites(*write, counted.count, gaps);
  }
  const auto time = ProfiledTime(counted.op);
  if (!time) return std::nullopt;
  Priced priced;
  priced.Add(*time, counted.count);
  const int64_t launches = GapsOf(time->seconds, counted.count);
  const auto* decode = std::get_if<DecodeAttention>(&counted.op);
  const bool in_codes = decode != nullptr && IsInCodes(decode->kv);
  gaps.Add({.kernels = launches, .in_codes = in_codes ? launches : 0});
  return priced;
}

StepCost::Priced StepCost::PriceOf(const CountedOp& counted, Gaps& gaps) {
  if (!profile_) return {.time = AnalyticTime(counted)};
  if (const auto priced = ProfiledPrice(counted, gaps)) return *priced;
  Priced priced;
  priced.Add({.seconds = AnalyticTime(counted).count(),
              .label = Label::kAnalytic,
              .band = analytic_error_},
             1);
  return priced;
}

StepTime StepCost::PredictProfiled(const StepShape& step, RowOps& rows) {
  std::array<Seconds, kStepPartCount> parts{};
  StepTime time;
  SpreadSum spreads;
  Gaps gaps;
  const auto add = [&](const Priced& priced, StepPart part, ErrorSource source) {
    parts[static_cast<size_t>(part)] += priced.time;
    for (size_t i = 0; i < time.by_label.size(); ++i) time.by_label[i] += priced.by_label[i];
    spreads.Add(source, priced.spread);
  };
  const auto add_rows = [&](size_t first, size_t end) {
    for (size_t i = first; i < end; ++i) {
      const RowOps::Each& each = rows.priced[i];
      if (!each.by_load) gaps.Add(each.gaps);
      add(each.by_load ? PriceLoads(rows.ops[i], step, gaps) : each.price, each.part, each.source);
    }
  };
  add_rows(0, rows.before);
  for (const CountedOp& counted : ops_) {
    const Priced priced = PriceOf(counted, gaps);
    if (std::holds_alternative<KvAppend>(counted.op)) time.cache_writes += priced.time;
    add(priced, PartOf(counted.op), SourceOf(counted.op));
  }
  add_rows(rows.before, rows.ops.size());
  add(PriceGaps(step, gaps.kernels), StepPart::kDense, ErrorSource::kElementwise);
  add(PriceNarrowGaps(gaps.in_codes), StepPart::kDense, ErrorSource::kElementwise);
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
  Gaps gaps;
  const Priced priced = PriceOf(counted, gaps);
  line.label = priced.Worst(line.label);
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
