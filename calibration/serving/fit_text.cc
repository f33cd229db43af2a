// A fit as text: for people, and as a catalog entry.
#include <cmath>
#include <iomanip>
#include <sstream>

#include "calibration/serving/fit_serving.h"
#include "sim/base/check.h"
#include "sim/base/comma_list.h"
#include "sim/base/text.h"

namespace moecast::serving {
namespace {

constexpr double kPerMilli = 1e3;
constexpr double kPerMicro = 1e6;

bool IsHostTime(const FittedParameter& p) { return p.prior.most == 0; }

/// A value with its unit: microseconds, or a share.
std::string ValueText(const FittedParameter& p, double value) {
  return IsHostTime(p) ? Fixed(value * kPerMicro, 2) + " us" : Fixed(value, 3);
}

std::string Milliseconds(std::optional<double> seconds) {
  return seconds ? Fixed(*seconds * kPerMilli, 2) : "-";
}

std::string ErrorLine(const char* what, const ServingError& error) {
  const auto percent = [](double e) { return std::isnan(e) ? "-" : Fixed(e * 100, 1) + " %"; };
  return std::string(what) + "TTFT " + percent(error.ttft) + ", TPOT " + percent(error.tpot) + "\n";
}

void AddClass(std::ostringstream& yaml, const char* name, const ClassEfficiency& e) {
  yaml << name << ": {memory: " << ShortestDouble(e.memory)
       << ", compute: " << ShortestDouble(e.compute)
       << ", fixed_us: " << ShortestDouble(e.fixed.count() * kPerMicro) << "}\n";
}

/// Six significant digits: more would claim what no fit knows.
double Rounded(double value) {
  std::ostringstream text;
  text << std::setprecision(6) << value;
  return std::stod(text.str());
}

}  // namespace

std::string DescribeFit(std::span<const ServingPoint> points, const ServingFit& fit) {
  std::ostringstream text;
  text << "parameter               fitted          prior           1 deviation of the fit\n";
  for (const FittedParameter& p : fit.parameters) {
    text << std::left << std::setw(24) << ParameterName(p.parameter) << std::setw(16)
         << ValueText(p, p.value) << std::setw(16)
         << ValueText(p, p.prior.center) + " x/" + Fixed(std::exp(p.prior.spread), 2) << "x/"
         << Fixed(std::exp(p.spread), 2) << "\n";
  }
  text << "\npoint: concurrency, input, output | measured TTFT, TPOT ms | before | after\n";
  for (size_t i = 0; i < points.size(); ++i) {
    const ServingPoint& p = points[i];
    text << p.where << ": " << p.concurrency << ", " << Fixed(p.input_tokens, 0) << ", "
         << Fixed(p.output_tokens, 0) << " | " << Milliseconds(p.ttft_s) << ", "
         << Milliseconds(p.tpot_s) << " | " << Milliseconds(fit.before[i].ttft_s) << ", "
         << Milliseconds(fit.before[i].tpot_s) << " | " << Milliseconds(fit.after[i].ttft_s) << ", "
         << Milliseconds(fit.after[i].tpot_s) << "\n";
  }
  text << "\nmedian error\n"
       << ErrorLine("  before:        ", ErrorOf(points, fit.before))
       << ErrorLine("  after:         ", ErrorOf(points, fit.after));
  if (!fit.unseen.empty()) {
    text << ErrorLine("  leave one out: ", ErrorOf(points, fit.unseen));
  }
  return text.str();
}

namespace {

/// "[a, b, c]".
template <class Values, class Text>
std::string Listed(const Values& values, const Text& text) {
  return "[" + CommaList(values, text) + "]";
}

void AddRuleCosts(std::ostream& yaml, const RuleCosts& costs) {
  if (costs.all().empty()) return;
  yaml << "rule_costs:\n";
  for (const RuleCost& rule : costs.all()) {
    yaml << "  - {name: " << SelectionName(rule.rule)
         << ", tokens: " << Listed(rule.tokens, ShortestDouble) << ", extra_us: "
         << Listed(rule.extra,
                   [](Seconds s) { return ShortestDouble(Rounded(s.count() * kPerMicro)); })
         << "}\n";
  }
}

}  // namespace

std::string OverlayYaml(const std::string& name, std::span<const ServingPoint> points,
                        const ServingFit& fit) {
  Efficiencies e = fit.efficiencies;
  for (ClassEfficiency* share :
       {&e.gemm, &e.experts, &e.decode_attention, &e.prefill_attention, &e.collective}) {
    share->memory = Rounded(share->memory);
    share->compute = Rounded(share->compute);
  }
  std::ostringstream yaml;
  yaml << "# Engine overheads fitted by `moecast calibrate --fit-serving` on " << points.size()
       << " measured points.\n# "
       << ErrorLine("Median error on points left out: ",
                    ErrorOf(points, fit.unseen.empty() ? fit.after : fit.unseen))
       << "name: " << name << "\n";
  AddClass(yaml, "gemm", e.gemm);
  AddClass(yaml, "experts", e.experts);
  AddClass(yaml, "route", e.route);
  AddClass(yaml, "decode_attention", e.decode_attention);
  AddClass(yaml, "prefill_attention", e.prefill_attention);
  AddClass(yaml, "elementwise", e.elementwise);
  AddClass(yaml, "collective", e.collective);
  const auto micro = [](Seconds s) { return ShortestDouble(Rounded(s.count() * kPerMicro)); };
  yaml << "kv_reads: {bits_8: " << ShortestDouble(e.narrow_reads[0])
       << ", bits_4: " << ShortestDouble(e.narrow_reads[1])
       << ", bits_2: " << ShortestDouble(e.narrow_reads[2])
       << ", bits_1: " << ShortestDouble(e.narrow_reads[3]) << "}\n"
       << "expert_compute_8_bit: " << ShortestDouble(e.expert_compute_8_bit) << "\n"
       << "expert_compute_4_bit: " << ShortestDouble(e.expert_compute_4_bit) << "\n";
  yaml << "expert_tile_rows: " << e.expert_tile_rows << "\n"
       << "host_per_step_us: " << micro(e.host_per_step) << "\n"
       << "host_per_sequence_us: " << micro(e.host_per_sequence) << "\n"
       << "host_per_prefill_token_us: " << micro(e.host_per_prefill_token) << "\n"
       << "host_per_request_us: " << micro(e.host_per_request) << "\n"
       << "eager_launch_us: " << micro(e.eager_launch) << "\n"
       << "graph_gap_us: " << micro(e.graph_gap) << "\n"
       << "prompt_gap_us: " << micro(e.prompt_gap) << "\n"
       << "narrow_gap_us: " << micro(e.narrow_gap) << "\n";
  AddRuleCosts(yaml, e.rules);
  yaml << "error_80: " << ShortestDouble(e.error.half80) << "\n"
       << "error_95: " << ShortestDouble(e.error.half95) << "\nsources:\n"
       << "  all: \"those of " << e.name << ", but for the fitted ones\"\n";
  for (const FittedParameter& p : fit.parameters) {
    yaml << "  " << ParameterName(p.parameter) << (IsHostTime(p) ? "_us" : "")
         << ": \"fitted: " << ValueText(p, p.value) << ", 1 deviation x/"
         << Fixed(std::exp(p.spread), 2) << "; prior " << ValueText(p, p.prior.center) << " x/"
         << Fixed(std::exp(p.prior.spread), 2) << "\"\n";
  }
  return yaml.str();
}

}  // namespace moecast::serving
