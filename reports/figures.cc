#include "reports/figures.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "sim/base/quantile_functions.h"

namespace moecast {
namespace {

constexpr double kMsPerSecond = 1e3;
constexpr double kUsPerSecond = 1e6;

double Gpus(const RunView& v) {
  return static_cast<double>(v.scenario.replicas * v.scenario.parallelism.gpus());
}

std::optional<double> Finite(double value) {
  return std::isfinite(value) ? std::optional(value) : std::nullopt;
}

/// A figure in milliseconds of one latency and statistic; absent without samples.
template <Latency Summary::*kLatency, double Latency::*kStatistic>
std::optional<double> Milliseconds(const RunView& v) {
  const Latency& latency = v.run.summary.*kLatency;
  if (latency.count == 0) return std::nullopt;
  return latency.*kStatistic * kMsPerSecond;
}

/// A summary field that exists whenever a request was measured.
template <double Summary::*kField>
std::optional<double> Measured(const RunView& v) {
  if (v.run.summary.measured == 0) return std::nullopt;
  return v.run.summary.*kField;
}

/// As Measured, per GPU of the whole deployment.
template <double Summary::*kField>
std::optional<double> PerGpu(const RunView& v) {
  if (v.run.summary.measured == 0) return std::nullopt;
  return v.run.summary.*kField / Gpus(v);
}

/// As Measured, for models with expert layers.
template <double Summary::*kField>
std::optional<double> OfExperts(const RunView& v) {
  return v.scenario.model.moe ? Measured<kField>(v) : std::nullopt;
}

std::optional<double> TokensPerSecondPerUser(const RunView& v) {
  const Latency& tpot = v.run.summary.tpot;
  if (tpot.count == 0 || tpot.median <= 0) return std::nullopt;
  return 1.0 / tpot.median;
}

std::optional<double> MeanKeptExperts(const RunView& v) {
  return v.scenario.model.moe ? Finite(v.result.selection.mean_kept) : std::nullopt;
}

/// What the rule did to the model's own experts; pruning leaves others.
template <double SelectionNotes::*kNote>
std::optional<double> OfSelection(const RunView& v) {
  const bool own = v.scenario.model.moe && !v.scenario.pruning;
  return own ? Finite(v.result.selection.*kNote) : std::nullopt;
}

/// Bits per cached element of the case's KV policy once a sequence is long.
template <double KvBits::*kBits>
std::optional<double> CacheBits(const RunView& v) {
  return v.result.memory.kv_bits.*kBits;
}

std::optional<double> CacheWriteMean(const RunView& v) {
  const Summary& s = v.run.summary;
  if (s.steps == 0) return std::nullopt;
  return s.cache_writes.count() * kUsPerSecond / static_cast<double>(s.steps);
}

std::optional<double> CacheWriteMost(const RunView& v) {
  return v.run.summary.most_cache_writes.count() * kUsPerSecond;
}

constexpr auto kTtftMedian = Milliseconds<&Summary::ttft, &Latency::median>;
constexpr auto kTtftP99 = Milliseconds<&Summary::ttft, &Latency::p99>;
constexpr auto kTpotMedian = Milliseconds<&Summary::tpot, &Latency::median>;
constexpr auto kTpotP99 = Milliseconds<&Summary::tpot, &Latency::p99>;
constexpr auto kItlMedian = Milliseconds<&Summary::itl, &Latency::median>;
constexpr auto kItlP99 = Milliseconds<&Summary::itl, &Latency::p99>;
constexpr auto kE2eMedian = Milliseconds<&Summary::e2e, &Latency::median>;
constexpr auto kE2eP99 = Milliseconds<&Summary::e2e, &Latency::p99>;

constexpr auto kFigures = std::to_array<Figure>({
    {"request_throughput_per_s", "requests", "1/s", 2, Measured<&Summary::request_throughput>},
    {"output_tokens_per_s", "output", "tok/s", 0, Measured<&Summary::output_throughput>},
    {"output_tokens_per_s_per_gpu", "per GPU", "tok/s", 0, PerGpu<&Summary::output_throughput>},
    {"total_tokens_per_s_per_gpu", "", "tok/s", 0, PerGpu<&Summary::total_throughput>},
    {"tokens_per_s_per_user", "", "tok/s", 1, TokensPerSecondPerUser},
    {"ttft_median_ms", "TTFT p50", "ms", 1, kTtftMedian},
    {"ttft_p99_ms", "p99", "ms", 1, kTtftP99},
    {"tpot_median_ms", "TPOT p50", "ms", 2, kTpotMedian},
    {"tpot_p99_ms", "p99", "ms", 2, kTpotP99},
    {"itl_median_ms", "ITL p50", "ms", 2, kItlMedian},
    {"itl_p99_ms", "p99", "ms", 2, kItlP99},
    {"e2e_median_ms", "", "ms", 0, kE2eMedian},
    {"e2e_p99_ms", "", "ms", 0, kE2eP99},
    {"goodput_per_s", "goodput", "1/s", 2, [](const RunView& v) { return v.run.summary.goodput; }},
    {"mean_decode_batch", "batch", "seqs", 1, Measured<&Summary::mean_decode_batch>},
    {"mean_distinct_experts", "experts", "/layer", 1, OfExperts<&Summary::mean_distinct_experts>},
    {"mean_rank_imbalance", "", "max/mean", 2, OfExperts<&Summary::mean_rank_imbalance>},
    {"mean_kept_experts", "", "/token", 2, MeanKeptExperts},
    {"kept_gate_mass", "gate mass", "kept", 3, OfSelection<&SelectionNotes::kept_gate_mass>},
    {"changed_set_share", "", "ratio", 3, OfSelection<&SelectionNotes::changed_share>},
    {"changed_experts", "", "/token", 3, OfSelection<&SelectionNotes::changed_experts>},
    {"mean_running_requests", "", "requests", 1, Measured<&Summary::mean_running>},
    {"mean_waiting_requests", "", "requests", 1, Measured<&Summary::mean_waiting>},
    {"mean_kv_used_ratio", "", "ratio", 3, Measured<&Summary::mean_kv_used_ratio>},
    {"kv_stored_bits", "", "bits", 3, CacheBits<&KvBits::stored>},
    {"kv_read_bits", "", "bits", 3, CacheBits<&KvBits::read>},
    {"kv_equivalent_bits", "", "bits", 3, CacheBits<&KvBits::equivalent>},
    {"kv_output_error", "", "ratio", 3, [](const RunView& v) { return v.result.kv_output_error; }},
    {"kv_write_mean_us", "", "us/step", 1, CacheWriteMean},
    {"kv_write_most_us", "", "us", 1, CacheWriteMost},
});

/// The figure in every replication; empty when any has none.
std::vector<double> Samples(const Figure& figure, const StudyCase& c, const CaseResult& result) {
  std::vector<double> samples;
  for (const RunResult& run : result.replications) {
    const std::optional<double> value =
        figure.value({.run = run, .scenario = c.scenario, .result = result});
    if (!value) return {};
    samples.push_back(*value);
  }
  return samples;
}

Estimate Compare(const std::vector<double>& samples, const std::vector<double>& first,
                 bool is_first) {
  Estimate estimate;
  if (samples.empty()) return estimate;
  estimate.value = ConfidenceInterval(samples, kConfidence);
  if (!first.empty() && Mean(first) != 0) estimate.ratio = estimate.value->mean / Mean(first);
  if (is_first || samples.size() < 2 || first.size() != samples.size()) return estimate;
  std::vector<double> differences;
  for (size_t r = 0; r < samples.size(); ++r) differences.push_back(samples[r] - first[r]);
  const Interval difference = ConfidenceInterval(differences, kConfidence);
  estimate.distinguishable = std::abs(difference.mean) > difference.half_width;
  return estimate;
}

/// ln(fast or slow run / expected run) is scaled by this from 95 to 80 %: errors of a whole run are
/// sums of many and taken as normal.
double ScaleTo80() {
  constexpr double kUpper80 = 0.9;
  constexpr double kUpper95 = 0.975;
  return NormalQuantile(kUpper80) / NormalQuantile(kUpper95);
}

/// The mean times exp(scale * ln(end / expected)) at both ends, in order. The mean itself is
/// inside.
Range RangeAround(double mean, double expected, const std::array<double, 2>& ends, double scale) {
  Range range{.low = mean, .high = mean};
  for (const double end : ends) {
    const bool ratio = expected > 0 && end > 0;
    const double value = ratio ? mean * std::pow(end / expected, scale) : mean + end - expected;
    range.low = std::min(range.low, value);
    range.high = std::max(range.high, value);
  }
  return range;
}

void AddRanges(const Figure& figure, const StudyCase& c, const CaseResult& result,
               Estimate& estimate) {
  if (!estimate.value || result.fast_and_slow.size() != 2) return;
  const auto value = [&](const RunResult& run) {
    return figure.value({.run = run, .scenario = c.scenario, .result = result});
  };
  const auto expected = value(result.replications.front());
  const auto fast = value(result.fast_and_slow.front());
  const auto slow = value(result.fast_and_slow.back());
  if (!expected || !fast || !slow) return;
  const double mean = estimate.value->mean;
  estimate.range80 = RangeAround(mean, *expected, {*fast, *slow}, ScaleTo80());
  estimate.range95 = RangeAround(mean, *expected, {*fast, *slow}, 1);
}

}  // namespace

std::span<const Figure> Figures() { return kFigures; }

size_t FigureIndex(std::string_view key) {
  for (size_t i = 0; i < kFigures.size(); ++i) {
    if (kFigures[i].key == key) return i;
  }
  SIM_CHECK(false);
}

std::vector<CaseFigures> EstimateFigures(const Study& study, const StudyResult& result) {
  SIM_CHECK(study.cases.size() == result.cases.size());
  std::vector<CaseFigures> rows;
  for (size_t i = 0; i < study.cases.size(); ++i) {
    const bool new_load = i == 0 || study.cases[i].load != study.cases[i - 1].load;
    const size_t first = new_load ? i : rows.back().first_index;
    CaseFigures row{.case_index = i, .first_index = first, .estimates = {}};
    for (const Figure& figure : Figures()) {
      row.estimates.push_back(Compare(Samples(figure, study.cases[i], result.cases[i]),
                                      Samples(figure, study.cases[first], result.cases[first]),
                                      i == first));
      AddRanges(figure, study.cases[i], result.cases[i], row.estimates.back());
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace moecast
