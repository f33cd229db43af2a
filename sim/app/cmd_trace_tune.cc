#include "sim/app/cmd_trace_tune.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "scenarios/sensitivity_file.h"
#include "sim/app/argument_checks.h"
#include "sim/app/commands.h"
#include "sim/app/scenario_arguments.h"
#include "sim/base/comma_list.h"
#include "sim/base/files.h"
#include "sim/base/text.h"
#include "sim/replay/gate_measures.h"
#include "sim/replay/schedule_search.h"
#include "traces/routing_reader.h"

namespace moecast {
namespace {

constexpr int kDigits = 4;

struct TuneArguments {
  std::string file;
  double mean_k = 0;
  std::string rule = "list";
  std::string sensitivity;
  std::string phase;  // empty: decode, or prefill where there is no decode
};

/// A sample of one phase's gate scores.
struct Sample {
  RoutingHeader header;
  RoutingPhase phase = RoutingPhase::kDecode;
  GateRows rows;
};

Result<Sample> ReadSample(const TuneArguments& arguments) {
  SIM_TRY(RoutingReader reader, RoutingReader::Open(arguments.file));
  Sample sample{.header = reader.header(), .rows = {}};
  if (!sample.header.has_scores) {
    return Error{"the routing trace has no gate scores, and tuning weighs experts by them",
                 arguments.file};
  }
  const bool prefill =
      arguments.phase.empty() ? reader.totals().decode_tokens == 0 : arguments.phase == "prefill";
  sample.phase = prefill ? RoutingPhase::kPrefill : RoutingPhase::kDecode;
  const uint64_t tokens = prefill ? reader.totals().prefill_tokens : reader.totals().decode_tokens;
  GateRowSampler sampler(sample.header, tokens);
  RoutingChunk chunk;
  for (;;) {
    SIM_TRY(const bool more, reader.Next(chunk));
    if (!more) break;
    if (chunk.phase == sample.phase) sampler.Add(chunk);
  }
  sample.rows = std::move(sampler).Take();
  for (int64_t layer = 0; layer < std::ssize(sample.header.moe_layers); ++layer) {
    if (std::ranges::find(sample.rows.moe_layer, layer) != sample.rows.moe_layer.end()) continue;
    return Error{"MoE layer " + std::to_string(layer) + " has no recorded " +
                     (prefill ? "prefill" : "decode") + " row with gate scores",
                 arguments.file};
  }
  return sample;
}

template <class Numbers, class Print>
std::string ListOf(const Numbers& numbers, const Print& print) {
  return "[" + CommaList(numbers, print) + "]";
}

std::string Whole(int64_t number) { return std::to_string(number); }

/// What the rule keeps of the sample, as a comment above it.
std::string KeptLine(const Sample& sample, const ExpertSelection& rule) {
  const KeptShare kept = MeasureKept(sample.rows, rule);
  return "# keeps " + Fixed(kept.mean_experts, kDigits) + " of " +
         std::to_string(sample.rows.top_k) + " experts and " + Fixed(kept.mass, kDigits) +
         " of their gate mass on this trace's " +
         (sample.phase == RoutingPhase::kPrefill ? "prefill" : "decode") +
         " rows: a proxy, not a quality\n";
}

Result<LayerWorth> WorthOf(const TuneArguments& arguments, const Sample& sample) {
  const auto layers = static_cast<int64_t>(sample.header.moe_layers.size());
  if (arguments.sensitivity.empty()) return GateMassWorth(sample.rows, layers);
  SIM_TRY(const std::string text, ReadFile(arguments.sensitivity));
  SIM_TRY(LayerWorth worth, ParseSensitivity(text, arguments.sensitivity, sample.header.moe_layers,
                                             sample.header.top_k));
  for (std::vector<double>& layer : worth) {
    for (double& loss : layer) loss = -loss;
  }
  return worth;
}

std::string TunedTuple(const Sample& sample, const LayerWorth& worth, int64_t budget) {
  const int64_t model_layers = sample.header.moe_layers.back() + 1;
  const TupleChoice choice = BestTuple(worth, budget, model_layers, sample.header.moe_layers);
  const auto& [b, h, e, p] = choice.tuple;
  return "# for a model of " + std::to_string(model_layers) + " layers\n" +
         KeptLine(sample, LayerSchedule{choice.k_per_moe_layer}) +
         "experts: {layer_schedule: {tuple: {b: " + Whole(b) + ", h: " + Whole(h) +
         ", e: " + Whole(e) + ", p: " + Whole(p) + "}}}\n";
}

std::string TunedAset(const Sample& sample, double mean_k) {
  const auto layers = static_cast<int64_t>(sample.header.moe_layers.size());
  const AsetDerived rule = TuneAsetDerived(sample.rows, layers, mean_k);
  return KeptLine(sample, rule) +
         "experts: {aset_derived: {penalty: " + ShortestDouble(rule.penalty) + ", threshold: " +
         ListOf(rule.threshold.values, [](double t) { return Fixed(t, kDigits + 2); }) + "}}\n";
}

Status RunTune(const TuneArguments& arguments) {
  SIM_TRY(const Sample sample, ReadSample(arguments));
  const auto top_k = static_cast<double>(sample.header.top_k);
  if (!(arguments.mean_k >= 1 && arguments.mean_k <= top_k)) {
    return Error{"must be from 1 to the trace's top_k (" + ShortestDouble(top_k) + "), got " +
                     ShortestDouble(arguments.mean_k),
                 "--mean-k"};
  }
  if (arguments.rule == "aset_derived") {
    if (!arguments.sensitivity.empty()) {
      return Error{"has no use with --rule aset_derived, which looks at scores only",
                   "--sensitivity"};
    }
    return PrintToStdout(TunedAset(sample, arguments.mean_k));
  }
  SIM_TRY(const LayerWorth worth, WorthOf(arguments, sample));
  const auto budget = static_cast<int64_t>(
      std::floor(arguments.mean_k * static_cast<double>(sample.header.moe_layers.size())));
  if (arguments.rule == "tuple") return PrintToStdout(TunedTuple(sample, worth, budget));
  const std::vector<int64_t> list = BestSchedule(worth, budget);
  return PrintToStdout(KeptLine(sample, LayerSchedule{list}) +
                       "experts: {layer_schedule: {list: {k_per_moe_layer: " + ListOf(list, Whole) +
                       "}}}\n");
}

}  // namespace

void AddTraceTune(CLI::App& trace, int& exit_code) {
  CLI::App* command = trace.add_subcommand(
      "tune",
      "Find the rule of expert selection that keeps the most under a mean number of experts");
  const auto arguments = std::make_shared<TuneArguments>();
  command->add_option("file", arguments->file, "Trace with gate scores")
      ->required()
      ->type_name("FILE");
  command->add_option("--mean-k", arguments->mean_k, "Experts per token and layer, on average")
      ->check(NonNegative())
      ->required();
  command
      ->add_option(
          "--rule", arguments->rule,
          "list: any top-k per layer, the best by dynamic programming (default); tuple: the "
          "best (b, h, e, p) of all; aset_derived: a threshold per layer and one penalty")
      ->check(OneOf({"list", "tuple", "aset_derived"}));
  command
      ->add_option("--sensitivity", arguments->sensitivity,
                   "CSV layer,k,loss to minimise instead of maximising kept gate mass (Alloc-L)")
      ->type_name("FILE.csv");
  command
      ->add_option("--phase", arguments->phase,
                   "Rows to look at (default: decode, or prefill where there is none)")
      ->check(OneOf({"prefill", "decode"}));
  command->footer(
      "Prints a section for a scenario file. Kept gate mass is a proxy: measure quality before\n"
      "you rely on it.\n");
  command->callback([arguments, &exit_code] {
    const Status status = RunTune(*arguments);
    exit_code = status.ok() ? kExitOk : FailWith(status.errors());
  });
}

}  // namespace moecast
