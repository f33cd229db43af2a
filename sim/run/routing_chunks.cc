#include "sim/run/routing_chunks.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "sim/base/text.h"
#include "sim/run/build.h"
#include "traces/twin/parametric_twin.h"

namespace moecast {
namespace {

template <class... Arms>
struct Overloaded : Arms... {
  using Arms::operator()...;
};
template <class... Arms>
Overloaded(Arms...) -> Overloaded<Arms...>;

template <class... Numbers>
std::string Joined(Numbers... numbers) {
  return ((" " + ShortestDouble(static_cast<double>(numbers))) + ...);
}

/// The experts and top-k that the routing has before pruning.
struct NativeMoe {
  int64_t experts = 0;
  int64_t top_k = 0;
};

NativeMoe NativeOf(const Scenario& scenario) {
  if (scenario.pruning) {
    return {.experts = scenario.pruning->native_experts, .top_k = scenario.pruning->native_top_k};
  }
  return {.experts = scenario.model.moe->experts, .top_k = scenario.model.moe->top_k};
}

/// The figures in which a trace's shape differs from the model's; empty when they agree.
std::string ShapeDifference(const RoutingHeader& header, const Scenario& scenario) {
  const auto differ = [](std::string_view what, int64_t trace, int64_t wanted) {
    return trace == wanted ? std::string()
                           : " " + std::string(what) + " " + std::to_string(trace) +
                                 " (the model has " + std::to_string(wanted) + ")";
  };
  const NativeMoe moe = NativeOf(scenario);
  std::string text = differ("experts", header.experts, moe.experts) +
                     differ("top-k", header.top_k, moe.top_k) +
                     differ("MoE layers", static_cast<int64_t>(header.moe_layers.size()),
                            scenario.model.moe_layer_count());
  if (text.empty() && header.moe_layers != MoeLayerIndices(scenario.model)) {
    text = " MoE layers at other positions than the model's";
  }
  return text;
}

Result<RoutingReader> OpenTrace(const std::filesystem::path& path, const Scenario& scenario,
                                const std::string& field) {
  SIM_TRY(RoutingReader reader, RoutingReader::Open(path));
  if (std::string difference = ShapeDifference(reader.header(), scenario); !difference.empty()) {
    return Error{"the routing trace was captured from '" + reader.header().model +
                     "' and cannot drive model '" + scenario.model.name + "': it has" + difference,
                 path.string() + ": " + field};
  }
  return reader;
}

/// A file must have what the rules want; generated routing has it.
Status CheckWanted(const RoutingHeader& header, const WantedRanks& wanted,
                   const std::filesystem::path& path) {
  const std::string where = path.string() + ": experts." + wanted.rule;
  if (wanted.scores && !header.has_scores) {
    return Error{"the routing trace has no gate scores, and a rule of `experts` needs them", where};
  }
  const int64_t ranks = header.top_k + header.further_ranks;
  if (ranks >= wanted.ranks) return Ok();
  std::string message = "the routing trace records the best " + std::to_string(ranks) +
                        " experts of a token, and the rule may send a token to its " +
                        std::to_string(wanted.ranks) + "th; import it with recorded_ranks";
  if (wanted.rule == "oea") {
    message += ", or set experts.oea.max_rank to at most " + std::to_string(ranks);
  }
  return Error{message, where};
}

/// The limits that the model's router puts on a row. docs/model/router_rules.md.
GroupLimitSpec LimitOf(const MoeSpec& moe) {
  if (moe.scoring == GateScoring::kGroupSoftmax && moe.groups > 1 && moe.top_k % moe.groups == 0) {
    return {.groups = moe.groups, .open = 0, .quota = moe.top_k / moe.groups};
  }
  if (moe.groups > 1 && moe.top_groups < moe.groups &&
      moe.top_groups * (moe.experts / moe.groups) >= moe.top_k) {
    return {.groups = moe.groups, .open = moe.top_groups, .quota = 0};
  }
  return {};
}

Result<ExpertUse> CountUse(RoutingReader& reader, const std::string& category) {
  ExpertUse use(reader.header());
  uint64_t counted = 0;
  RoutingChunk chunk;
  for (;;) {
    SIM_TRY(const bool more, reader.Next(chunk));
    if (!more) break;
    const auto& label = reader.sequences()[chunk.sequence.value()].category;
    if (!category.empty() && label != category) continue;
    use.Add(chunk);
    counted += static_cast<uint64_t>(chunk.tokens);
  }
  if (counted > 0) return use;
  std::vector<std::string> names;
  for (const RoutingSequence& sequence : reader.sequences()) names.push_back(sequence.category);
  std::ranges::sort(names);
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return Error{
      "no sequence of the trace has category '" + category + "'" + DidYouMean(category, names),
      "pruning.category"};
}

ExpertUse CountUse(RoutingSynthesiser synthesiser) {
  ExpertUse use(synthesiser.header());
  RoutingChunk chunk;
  while (synthesiser.Next(chunk)) use.Add(chunk);
  return use;
}

Result<RoutingSynthesiser> OpenSynthesis(const Scenario& scenario, const WantedRanks& wanted) {
  const auto& spec = std::get<SyntheticRouting>(scenario.routing);
  const NativeMoe moe = NativeOf(scenario);
  RoutingHeader header{.source = "moecast synthetic routing",
                       .model = scenario.model.name,
                       .moe_layers = MoeLayerIndices(scenario.model),
                       .experts = static_cast<int32_t>(moe.experts),
                       .top_k = static_cast<int32_t>(moe.top_k),
                       .has_scores = true};
  if (wanted.ranks > moe.top_k || scenario.pruning) {
    const int64_t further = std::max(spec.further_ranks, wanted.ranks - moe.top_k);
    header.further_ranks = static_cast<int32_t>(std::min(further, moe.experts - moe.top_k));
  }
  const Seed seed{.seed = scenario.seed, .replication = 0};
  RoutingTwin twin = TwinFromParameters(spec, header, seed);
  if (!scenario.pruning) twin.limit = LimitOf(*scenario.model.moe);
  return RoutingSynthesiser(std::move(twin), seed);
}

std::string PruningKey(const Scenario& scenario) {
  if (!scenario.pruning) return {};
  const auto& [experts, native_experts, native_top_k, order, calibration, category] =
      *scenario.pruning;
  return " pruned" +
         Joined(experts, native_experts, native_top_k, static_cast<int>(order), scenario.seed) +
         " " + calibration.string() + " " + category;
}

}  // namespace

std::string TraceKey(const Scenario& scenario) {
  const MoeSpec& moe = *scenario.model.moe;
  const GroupLimitSpec limit = LimitOf(moe);
  std::string key = std::to_string(moe.experts) + " " + std::to_string(moe.top_k) + " layers";
  for (const int32_t layer : MoeLayerIndices(scenario.model)) key += " " + std::to_string(layer);
  key += PruningKey(scenario);
  return key + std::visit(
                   Overloaded{
                       [](const ReplayRouting& replay) { return " file " + replay.path.string(); },
                       [&](const SyntheticRouting& synthetic) {
                         // Names every field, so that a new one stops the build here.
                         const auto& [spread, skew, topics, strength, stickiness, decay,
                                      temperature, sequences, prefill, decode, further] = synthetic;
                         return " synthetic " + std::to_string(scenario.seed) +
                                Joined(spread, skew, topics, strength, stickiness, decay,
                                       temperature, sequences, prefill, decode, further,
                                       limit.groups, limit.open, limit.quota);
                       },
                       [](const UniformRouting&) { return std::string(" uniform"); }},
                   scenario.routing);
}

Result<RoutingChunks::Source> RoutingChunks::OpenSource(const Scenario& scenario,
                                                        const WantedRanks& wanted) {
  if (const auto* replay = std::get_if<ReplayRouting>(&scenario.routing)) {
    SIM_TRY(RoutingReader reader, OpenTrace(replay->path, scenario, "routing"));
    SIM_RETURN_IF_ERROR(CheckWanted(reader.header(), wanted, replay->path));
    return Source(std::move(reader));
  }
  SIM_TRY(RoutingSynthesiser synthesiser, OpenSynthesis(scenario, wanted));
  return Source(std::move(synthesiser));
}

Result<RoutingChunks> RoutingChunks::Open(const Scenario& scenario, const WantedRanks& wanted) {
  SIM_TRY(Source source, OpenSource(scenario, wanted));
  RoutingChunks chunks(std::move(source));
  if (!scenario.pruning) return chunks;
  const PruningSpec& spec = *scenario.pruning;
  const RoutingHeader& header = chunks.header();
  ExpertUse use(header);
  const auto* replay = std::get_if<ReplayRouting>(&scenario.routing);
  const bool from_file = !spec.calibration.empty() || replay != nullptr;
  if (spec.order != PruningOrder::kRandom && from_file) {
    const auto path = spec.calibration.empty() ? replay->path : spec.calibration;
    SIM_TRY(RoutingReader reader, OpenTrace(path, scenario, "pruning.calibration"));
    if (spec.order == PruningOrder::kSoftCount && !reader.header().has_scores) {
      return Error{"the trace has no gate scores, which pruning by soft_count sums up",
                   path.string() + ": pruning"};
    }
    SIM_TRY(use, CountUse(reader, spec.category));
  } else if (spec.order != PruningOrder::kRandom) {
    SIM_TRY(RoutingSynthesiser synthesiser, OpenSynthesis(scenario, wanted));
    use = CountUse(std::move(synthesiser));
  }
  chunks.pruning_.emplace(header, spec, use, Seed{.seed = scenario.seed, .replication = 0});
  return chunks;
}

const RoutingHeader& RoutingChunks::header() const {
  if (pruning_) return pruning_->header();
  return std::visit([](const auto& source) -> const RoutingHeader& { return source.header(); },
                    source_);
}

Result<bool> RoutingChunks::Next(RoutingChunk& chunk) {
  SIM_TRY(const bool more,
          std::visit([&chunk](auto& s) { return Result<bool>(s.Next(chunk)); }, source_));
  if (more && pruning_) pruning_->Apply(chunk);
  return more;
}

double RoutingChunks::completed_share() const {
  if (!pruning_ || pruning_->places() == 0) return 0;
  return static_cast<double>(pruning_->completed()) / static_cast<double>(pruning_->places());
}

}  // namespace moecast
