#include "reports/explain_text.h"

#include <array>
#include <cmath>

#include "reports/provenance.h"
#include "reports/text_table.h"
#include "sim/base/text.h"

namespace moecast {
namespace {

using Align = TextTable::Align;

constexpr double kMicrosecondsPerSecond = 1e6;
constexpr double kPercent = 100;

std::string Microseconds(Seconds t) { return Fixed(t.count() * kMicrosecondsPerSecond, 2); }

/// With a decimal prefix and three significant digits: "12.3 G".
std::string HumanFlops(double flops) {
  constexpr std::array<const char*, 6> kPrefixes{"", "k", "M", "G", "T", "P"};
  constexpr double kStep = 1e3;
  size_t prefix = 0;
  while (std::abs(flops) >= kStep && prefix + 1 < kPrefixes.size()) {
    flops /= kStep;
    ++prefix;
  }
  const int digits = prefix == 0 ? 0 : flops < 10 ? 2 : flops < 100 ? 1 : 0;
  return Fixed(flops, digits) + (prefix == 0 ? "" : " " + std::string(kPrefixes[prefix]));
}

TextTable OpTable() {
  TextTable table;
  table.AddColumn(Align::kLeft, {"op", ""});
  table.AddColumn(Align::kRight, {"count", "/step"});
  table.AddColumn(Align::kRight, {"bytes", "each"});
  table.AddColumn(Align::kRight, {"FLOPs", "each"});
  table.AddColumn(Align::kRight, {"memory", "us each"});
  table.AddColumn(Align::kRight, {"compute", "us each"});
  table.AddColumn(Align::kRight, {"time", "us each"});
  table.AddColumn(Align::kRight, {"time", "us all"});
  table.AddColumn(Align::kRight, {"share", "%"});
  table.AddColumn(Align::kLeft, {"bound", ""});
  table.AddColumn(Align::kLeft, {"label", ""});
  table.AddColumn(Align::kLeft, {"shape", ""});
  return table;
}

std::string RenderOps(const StepAnswer& answer) {
  TextTable table = OpTable();
  const double total = ToSeconds(answer.time.total);
  for (const OpLine& line : answer.lines) {
    table.AddRow({line.name, std::to_string(line.count),
                  line.bytes.count() > 0 ? HumanBytes(line.bytes.count()) : "-",
                  line.flops.count() > 0 ? HumanFlops(line.flops.count()) : "-",
                  Microseconds(line.memory_bound), Microseconds(line.compute_bound),
                  Microseconds(line.each), Microseconds(line.all),
                  Fixed(kPercent * line.all.count() / total, 1), std::string(line.bound),
                  std::string(LabelName(line.label)),
                  line.shape + (line.note.empty() ? "" : "; " + line.note)});
  }
  return table.Text();
}

std::string RenderParts(const StepTime& time) {
  struct Part {
    StepPart part = StepPart::kAttention;
    Seconds seconds{};
  };
  const std::array<Part, kStepPartCount> parts{{{StepPart::kAttention, time.attention},
                                                {StepPart::kExperts, time.experts},
                                                {StepPart::kDense, time.dense},
                                                {StepPart::kCollectives, time.collectives},
                                                {StepPart::kHost, time.host}}};
  TextTable table;
  table.AddColumn(Align::kLeft, {"part", ""});
  table.AddColumn(Align::kRight, {"time", "us"});
  table.AddColumn(Align::kRight, {"share", "%"});
  const double total = ToSeconds(time.total);
  for (const Part& part : parts) {
    table.AddRow({std::string(StepPartName(part.part)), Microseconds(part.seconds),
                  Fixed(kPercent * part.seconds.count() / total, 1)});
  }
  table.AddRow({"total", Microseconds(Seconds(total)), Fixed(kPercent, 1)});
  return table.Text();
}

std::string RenderModel(const Scenario& scenario) {
  constexpr double kBillion = 1e9;
  constexpr int kDigits = 4;
  const ParameterCount count = CountParameters(scenario.model);
  return "Model" + (scenario.change.empty() ? "" : " changed by " + scenario.change) + ": " +
         Fixed(count.total / kBillion, kDigits) + " billion parameters, " +
         Fixed(count.active / kBillion, kDigits) + " active; " +
         Fixed(MultiplyAddsPerToken(scenario.model) / kBillion, kDigits) +
         " billion multiply-adds per token besides attention over the cache.\n";
}

std::string RenderMemory(const MemoryPlan& plan) {
  constexpr int kBitDigits = 3;
  return "Memory per GPU: " + HumanBytes(plan.weights.count()) + " weights, " +
         HumanBytes(plan.reserved.count()) + " reserved, " + HumanBytes(plan.kv_budget.count()) +
         " for KV at " + HumanBytes(plan.kv_bytes_per_token) + " per token" +
         (plan.state_bytes_per_sequence > 0
              ? " and " + HumanBytes(plan.state_bytes_per_sequence) + " of state per sequence"
              : "") +
         (plan.kv_bytes_per_sequence > 0
              ? " and " + HumanBytes(plan.kv_bytes_per_sequence) + " of windows per sequence"
              : "") +
         ": " + std::to_string(plan.kv_tokens) +
         " cached tokens per attention group.\n"
         "Cache: " +
         Fixed(plan.kv_bits.stored, kBitDigits) + " bits stored per element, " +
         Fixed(plan.kv_bits.read, kBitDigits) + " read, " +
         Fixed(plan.kv_bits.equivalent, kBitDigits) + " equivalent (codes alone).\n";
}

std::string RenderHead(const Scenario& scenario, const StepAnswer& answer) {
  std::string text = "One step of " + scenario.model.name + ", " + DescribeDeployment(scenario) +
                     " on " + scenario.device.name + ": " +
                     std::to_string(answer.tokens - answer.prefill_tokens) +
                     " sequences decode a token each, " + std::to_string(answer.prefill_tokens) +
                     " prompt tokens are computed; " + std::to_string(answer.rows_per_group) +
                     " rows per attention group, " +
                     (answer.graph ? "replayed as a captured graph" : "launched op by op");
  if (answer.distinct_experts > 0) {
    text += ", " + Fixed(answer.distinct_experts, 1) + " distinct experts per MoE layer";
  }
  return text + ".\n";
}

std::string RenderFoundation(const std::string& study_name, const Scenario& scenario) {
  return "step times   " + DescribePrices(scenario) + "\nrouting      " +
         DescribeRouting(scenario) + ", seed " + std::to_string(scenario.seed) + "\nmade by      " +
         MadeBy(study_name) + "\n";
}

}  // namespace

std::string RenderExplanation(const std::string& study_name, const Scenario& scenario,
                              const StepAnswer& answer) {
  return RenderHead(scenario, answer) + RenderModel(scenario) + RenderMemory(answer.memory) + "\n" +
         RenderOps(answer) + "\n" + RenderParts(answer.time) + "\n" +
         RenderFoundation(study_name, scenario);
}

}  // namespace moecast
