#include <cmath>

#include "routing.pb.h"
#include "scenario.pb.h"
#include "scenarios/convert.h"
#include "sim/base/text.h"
#include "workload.pb.h"

namespace moecast {
namespace {

Duration ToDuration(double seconds) {
  return Duration(static_cast<int64_t>(std::llround(seconds * kNsPerSecond)));
}

Arrivals ConvertArrivals(const pb::Arrivals& in) {
  if (in.has_gamma()) return GammaArrivals{in.gamma().rate_per_s(), in.gamma().cv()};
  if (in.has_fixed_rate()) return FixedRateArrivals{in.fixed_rate().rate_per_s()};
  if (in.has_on_off()) {
    return OnOffArrivals{.on_rate_per_s = in.on_off().on_rate_per_s(),
                         .off_rate_per_s = in.on_off().off_rate_per_s(),
                         .on_s = in.on_off().on_s(),
                         .off_s = in.on_off().off_s()};
  }
  if (in.has_closed_loop()) return ClosedLoop{in.closed_loop().concurrency()};
  return PoissonArrivals{in.poisson().rate_per_s()};
}

void CheckRange(int64_t low, int64_t high, const std::string& path, const FieldReporter& report) {
  if (low <= high) return;
  report(path + ".max_tokens",
         "must be at least min_tokens (" + std::to_string(low) + "), got " + std::to_string(high));
}

Length ConvertLength(const pb::Length& in, const std::string& path, const FieldReporter& report) {
  if (in.has_lognormal()) {
    const pb::LognormalLength& length = in.lognormal();
    CheckRange(length.min_tokens(), length.max_tokens(), path + ".lognormal", report);
    return LognormalLength{.mean_tokens = length.mean_tokens(),
                           .cv = length.cv(),
                           .min_tokens = length.min_tokens(),
                           .max_tokens = length.max_tokens()};
  }
  if (in.has_uniform()) {
    CheckRange(in.uniform().min_tokens(), in.uniform().max_tokens(), path + ".uniform", report);
    return UniformLength{in.uniform().min_tokens(), in.uniform().max_tokens()};
  }
  if (in.has_empirical()) return EmpiricalLength{in.empirical().csv()};
  return FixedLength{in.fixed().tokens()};
}

RequestTraceFormat ConvertTraceFormat(pb::TraceWorkload::Format in) {
  switch (in) {
    case pb::TraceWorkload::azure_csv:
      return RequestTraceFormat::kAzureCsv;
    case pb::TraceWorkload::mooncake_jsonl:
      return RequestTraceFormat::kMooncakeJsonl;
    case pb::TraceWorkload::burstgpt_csv:
      return RequestTraceFormat::kBurstGptCsv;
    case pb::TraceWorkload::vidur_csv:
      return RequestTraceFormat::kVidurCsv;
    default:
      return RequestTraceFormat::kMoecastCsv;
  }
}

TraceWorkload ConvertTrace(const pb::TraceWorkload& in) {
  TraceWorkload out{.format = ConvertTraceFormat(in.format()),
                    .path = in.path(),
                    .speedup = in.speedup(),
                    .closed_concurrency = std::nullopt,
                    .prefix_block_tokens = in.prefix_block_tokens()};
  if (in.has_closed_concurrency()) out.closed_concurrency = in.closed_concurrency();
  return out;
}

Slo ConvertSlo(const pb::Slo& in) {
  constexpr double kMilli = 1e-3;
  Slo out;
  if (in.has_ttft_ms()) out.ttft = ToDuration(in.ttft_ms() * kMilli);
  if (in.has_tpot_ms()) out.tpot = ToDuration(in.tpot_ms() * kMilli);
  if (in.has_e2e_ms()) out.e2e = ToDuration(in.e2e_ms() * kMilli);
  return out;
}

}  // namespace

void ConvertWorkload(const pb::Workload& in, const FieldReporter& report, Scenario& out) {
  if (in.has_trace()) {
    out.workload = ConvertTrace(in.trace());
  } else {
    const std::string path = "workload.synthetic";
    out.workload = SyntheticWorkload{
        .arrivals = ConvertArrivals(in.synthetic().arrivals()),
        .input = ConvertLength(in.synthetic().input(), path + ".input", report),
        .output = ConvertLength(in.synthetic().output(), path + ".output", report)};
  }
  if (in.stop().has_requests()) out.stop.requests = static_cast<uint64_t>(in.stop().requests());
  if (in.stop().has_horizon_s()) out.stop.horizon = ToDuration(in.stop().horizon_s());
  if (!out.stop.requests && !out.stop.horizon) {
    report("workload.stop", "needs requests, horizon_s or both; a run must end");
  }
  out.warmup_requests = static_cast<uint64_t>(in.warmup_requests());
  if (out.stop.requests && out.warmup_requests >= *out.stop.requests) {
    report("workload.warmup_requests",
           "must be below stop.requests (" + std::to_string(*out.stop.requests) + "), got " +
               std::to_string(out.warmup_requests) + "; nothing would be measured");
  }
}

RoutingSpec ConvertRouting(const pb::Routing& in) {
  if (in.has_replay()) return ReplayRouting{in.replay().path()};
  if (in.has_uniform()) return UniformRouting{};
  const pb::SyntheticRouting& routing = in.synthetic();
  return SyntheticRouting{.popularity_spread = routing.popularity_spread(),
                          .popularity_skew = routing.popularity_skew(),
                          .topics = routing.topics(),
                          .topic_strength = routing.topic_strength(),
                          .stickiness = routing.stickiness(),
                          .stickiness_decay = routing.stickiness_decay(),
                          .score_temperature = routing.score_temperature(),
                          .sequences = routing.sequences(),
                          .prefill_tokens = routing.prefill_tokens(),
                          .decode_tokens = routing.decode_tokens(),
                          .further_ranks = routing.further_ranks()};
}

namespace {

/// What the policy asks of routing and SLO.
void CheckPolicy(const pb::Scenario& in, const FieldReporter& report, Scenario& out) {
  if (std::holds_alternative<UniformRouting>(out.routing)) {
    if (NeedsScores(out.experts)) {
      report("experts",
             "needs gate scores, which routing.uniform has not; "
             "use routing.replay or routing.synthetic");
    } else if (IsStepLevel(out.experts)) {
      report("experts",
             "chooses experts in the step, by the tokens that are in it, of which routing.uniform "
             "has only expectations; use routing.replay or routing.synthetic");
    }
  }
  if (in.has_renormalise_ranks() && out.model.moe &&
      in.renormalise_ranks() > out.model.moe->experts) {
    report("renormalise_ranks", "must be at most the model's experts (" +
                                    std::to_string(out.model.moe->experts) + "), got " +
                                    std::to_string(in.renormalise_ranks()));
  }
  if (out.experts.choose.measure != LoadMeasure::kSloSlack) return;
  if (!out.slo.tpot) {
    report("experts.adaptive.measure", "slo_slack needs slo.tpot_ms");
  } else {
    out.experts.choose.tpot_bound = Seconds(ToSeconds(*out.slo.tpot));
  }
}

}  // namespace

Scenario ConvertScenario(const pb::Scenario& in, const FieldReporter& report) {
  Scenario out;
  out.name = in.name();
  out.seed = static_cast<uint64_t>(in.seed());
  out.replications = in.replications();
  out.model = ConvertModel(in.model(), report);
  if (in.has_change()) {
    out.change = in.change().name();
    ConvertChange(in.change(), report, out.model);
  }
  if (in.has_pruning()) out.pruning = ConvertPruning(in.pruning(), report, out.model);
  ConvertCluster(in.cluster(), report, out);
  ConvertEngine(in.engine(), report, out);
  out.kv = ConvertKv(in.kv(), out.model, report);
  out.efficiencies = ConvertEfficiencies(in.cost().efficiencies(), report);
  ConvertWorkload(in.workload(), report, out);
  out.routing = ConvertRouting(in.routing());
  out.experts = ConvertExperts(in.experts(), out.model, report);
  out.experts.mass_ranks = in.renormalise_ranks();
  out.slo = ConvertSlo(in.slo());
  CheckPolicy(in, report, out);
  return out;
}

}  // namespace moecast
