#include "sim/cost/step_cost.h"

#include <algorithm>
#include <utility>

#include "sim/base/check.h"
#include "sim/cost/op_class.h"

namespace moecast {
namespace {

/// std::max by value, which compiles to one instruction.
double Larger(double a, double b) { return a > b ? a : b; }

std::optional<ExpertLayerShape> ExpertLayerOf(const ModelSpec& model,
                                              const Parallelism& parallelism) {
  if (!model.moe) return std::nullopt;
  return ExpertLayerShape{
      .hidden = model.hidden,
      .intermediate = model.moe->expert_intermediate / parallelism.expert_tensor(),
      .experts = model.moe->experts,
      .top_k = model.moe->top_k,
      .format = model.formats.experts};
}

/// Efficiencies with that of expert products in the model's weight format.
Efficiencies ForModel(Efficiencies e, const ModelSpec& model) {
  constexpr double kEightBits = 8;
  constexpr double kFourBits = 5;  // 4-bit codes with their scales
  const double bits = model.formats.experts.stored_bits;
  if (bits <= kFourBits) {
    e.experts.compute *= e.expert_compute_4_bit;
  } else if (bits <= kEightBits + 1) {
    e.experts.compute *= e.expert_compute_8_bit;
  }
  return e;
}

/// Steps of different rows that are remembered, as a power of two. Decode steps of a run have at
/// most as many as graphs are captured.
constexpr int kRowOpsLog2 = 7;

size_t RowOpsSlot(const StepShape& step) {
  constexpr uint64_t kGoldenRatio = 0x9e3779b97f4a7c15;
  constexpr int kWordBits = 64;
  constexpr int kHalf = 32;
  const auto key = static_cast<uint64_t>(step.rows_per_group) +
                   (static_cast<uint64_t>(step.logit_rows_per_group) << kHalf);
  return key * kGoldenRatio >> (kWordBits - kRowOpsLog2);
}

}  // namespace

std::string_view LabelName(Label label) {
  switch (label) {
    case Label::kMeasured:
      return "measured";
    case Label::kInterpolated:
      return "interpolated";
    case Label::kExtrapolated:
      return "extrapolated";
    case Label::kAnalytic:
      return "analytic";
  }
  SIM_CHECK(false);
}

std::string_view StepPartName(StepPart part) {
  switch (part) {
    case StepPart::kAttention:
      return "attention";
    case StepPart::kExperts:
      return "experts";
    case StepPart::kDense:
      return "dense";
    case StepPart::kCollectives:
      return "collectives";
    case StepPart::kHost:
      return "host";
  }
  SIM_CHECK(false);
}

StepCost::StepCost(const ModelSpec& model, const Parallelism& parallelism, const KvPlan& kv,
                   const DeviceSpec& device, const FabricSpec& fabric,
                   const Efficiencies& efficiencies, std::shared_ptr<const Profile> profile)
    : parallelism_(parallelism),
      lowering_(model, parallelism, kv),
      roofline_(device, ForModel(efficiencies, model)),
      collective_(fabric, efficiencies.collective),
      host_per_step_(efficiencies.host_per_step),
      host_per_sequence_(efficiencies.host_per_sequence),
      host_per_prefill_token_(efficiencies.host_per_prefill_token),
      eager_launch_(efficiencies.eager_launch),
      graph_gap_(efficiencies.graph_gap),
      prompt_gap_(efficiencies.prompt_gap),
      narrow_gap_(efficiencies.narrow_gap),
      analytic_error_(efficiencies.error),
      rules_(efficiencies.rules),
      kv_format_(kv.stores.front().name),
      activation_format_(model.formats.activations.name),
      row_ops_(size_t{1} << kRowOpsLog2) {
  SIM_CHECK(parallelism.gpus() == 1 || fabric.bandwidth.count() > 0);
  if (profile != nullptr) {
    profile_.emplace(std::move(profile), device, ExpertLayerOf(model, parallelism));
  }
}

const AttentionLoad& StepCost::SlowestLoad(const StepShape& step) {
  const AttentionLoad* slowest = &step.attention.front();
  if (step.attention.size() == 1) return *slowest;
  Seconds worst(-1);
  for (const AttentionLoad& load : step.attention) {
    group_.clear();
    lowering_.LowerCache(step, load, group_);
    Gaps gaps;
    Seconds time;
    for (const CountedOp& counted : group_) time += PriceOf(counted, gaps).time;
    time += PriceGaps(step, gaps.kernels).time + PriceNarrowGaps(gaps.in_codes).time;
    if (time > worst) {
      worst = time;
      slowest = &load;
    }
  }
  return *slowest;
}

StepCost::RowOps& StepCost::RowOpsOf(const StepShape& step) {
  RowOps& rows = row_ops_[RowOpsSlot(step)];
  if (rows.rows != step.rows_per_group || rows.logit_rows != step.logit_rows_per_group ||
      rows.selection != step.selection) {
    FillRowOps(step, rows);
  }
  return rows;
}

void StepCost::FillRowOps(const StepShape& step, RowOps& rows) {
  rows.rows = step.rows_per_group;
  rows.logit_rows = step.logit_rows_per_group;
  rows.selection = step.selection;
  rows.ops.clear();
  rows.priced.clear();
  if (step.rows_per_group > 0) lowering_.LowerBeforeCache(step, rows.ops);
  rows.before = rows.ops.size();
  if (step.rows_per_group > 0) lowering_.LowerAfterCache(step, rows.ops);
  rows.launches = LaunchCount(rows.ops);
  for (const CountedOp& counted : rows.ops) {
    const bool by_load = std::holds_alternative<ExpertGemm>(counted.op) ||
                         std::holds_alternative<ExpertExchange>(counted.op);
    RowOps::Each& each = rows.priced.emplace_back();
    each.part = PartOf(counted.op);
    each.source = SourceOf(counted.op);
    each.by_load = by_load;
    if (!by_load) each.price = PriceOf(counted, each.gaps);
  }
}

StepCost::Priced StepCost::PriceLoads(CountedOp& counted, const StepShape& step, Gaps& gaps) {
  if (auto* experts = std::get_if<ExpertGemm>(&counted.op)) experts->loads = step.experts;
  if (auto* exchange = std::get_if<ExpertExchange>(&counted.op)) exchange->loads = step.experts;
  return PriceOf(counted, gaps);
}

int64_t StepCost::LaunchCount(const std::vector<CountedOp>& ops) {
  int64_t launches = 0;
  for (const CountedOp& counted : ops) launches += counted.count;
  return launches;
}

Seconds StepCost::AnalyticTime(const CountedOp& counted) const {
  const double count = static_cast<double>(counted.count);
  return std::visit(
      Overloaded{[&](const ExpertGemm& op) { return ExpertTime(op); },
                 [&](const ExpertExchange& op) {
                   return collective_.TimeOf(CollectiveCost::WorkOf(op)) * count;
                 },
                 [&](const Collective& op) { return collective_.Time(op) * count; },
                 [&](const RouteTokens& op) {
                   const Seconds rule = rules_.Extra(op.selection, static_cast<double>(op.rows));
                   return (roofline_.Time(ClassOf(op), Features(op)) + rule) * count;
                 },
                 [&](const auto& op) { return roofline_.Time(ClassOf(op), Features(op)) * count; }},
      counted.op);
}

Seconds StepCost::ExpertTime(const ExpertGemm& op) const {
  // Bounds are linear in a rank's load, so their slopes are taken out of the loop.
  if (!op.read.whole() || op.mixed_format != nullptr) return UnevenExpertTime(op);
  const ExpertUnits units = UnitsOf(op);
  const OpFeatures row = Features(op, {.padded_rows = 1}, 0).most;
  const auto bounds = [&](double bytes, double flops) {
    OpFeatures f = row;
    f.bytes = Bytes(bytes);
    f.flops = Flops(flops);
    return roofline_.BoundsOf(OpClass::kExperts, f);
  };
  const double per_expert = bounds(units.bytes_per_expert, 0).memory.count();
  const double per_assignment = bounds(units.bytes_per_assignment, 0).memory.count();
  const double per_layer_assignment = bounds(units.bytes_per_layer_assignment, 0).memory.count();
  const double per_row = bounds(0, units.flops_per_padded_row).compute.count();
  const auto ranks = static_cast<size_t>(op.ranks);
  const size_t layers = op.loads.size() / ranks;
  double sum = 0;
  for (size_t layer = 0; layer < layers; ++layer) {
    const ExpertLoad* load = op.loads.data() + layer * ranks;
    double memory = 0;  // of the rank that moves most, before what all ranks share
    double compute = 0;
    double assignments = 0;
    for (size_t rank = 0; rank < ranks; ++rank) {
      memory = Larger(memory,
                      load[rank].distinct * per_expert + load[rank].assignments * per_assignment);
      compute = Larger(compute, load[rank].padded_rows * per_row);
      assignments += load[rank].assignments;
    }
    sum += Larger(memory + assignments * per_layer_assignment, compute);
  }
  return Seconds(sum) + roofline_.fixed(OpClass::kExperts) * static_cast<double>(layers);
}

Bounds StepCost::BoundsOf(const ExpertGemm& op, const ExpertLoad& load, double assignments) const {
  const ExpertFeatures f = Features(op, load, assignments);
  const Bounds most = roofline_.BoundsOf(OpClass::kExperts, f.most);
  const Bounds mixed = roofline_.BoundsOf(OpClass::kExperts, f.mixed);
  return {.memory = most.memory + mixed.memory, .compute = most.compute + mixed.compute};
}

Seconds StepCost::UnevenExpertTime(const ExpertGemm& op) const {
  const auto ranks = static_cast<size_t>(op.ranks);
  Seconds sum;
  for (size_t first = 0; first < op.loads.size(); first += ranks) {
    const std::span<const ExpertLoad> loads = op.loads.subspan(first, ranks);
    double assignments = 0;
    for (const ExpertLoad& load : loads) assignments += load.assignments;
    Seconds slowest;
    for (const ExpertLoad& load : loads) {
      slowest = std::max(slowest, BoundsOf(op, load, assignments).larger());
    }
    sum += slowest + roofline_.fixed(OpClass::kExperts);
  }
  return sum;
}

std::array<Seconds, StepCost::kHostItems> StepCost::HostTimes(const StepShape& step, Seconds gpu,
                                                              int64_t launches) const {
  int64_t sequences = 0;  // every group has its own host process; the fullest is waited for
  int64_t prefill_tokens = 0;
  for (const AttentionLoad& load : step.attention) {
    sequences = std::max(sequences, load.decode_sequences + load.prefill_chunks);
    prefill_tokens = std::max(prefill_tokens, load.prefill_tokens);
  }
  // Eager launches run ahead of the GPU: only what exceeds its time is waited for.
  Seconds exposed;
  if (!step.graph) {
    exposed = std::max(eager_launch_ * static_cast<double>(launches) - gpu, Seconds(0));
  }
  return {host_per_step_, host_per_sequence_ * static_cast<double>(sequences),
          host_per_prefill_token_ * static_cast<double>(prefill_tokens), exposed};
}

StepTime StepCost::Predict(const StepShape& step) {
  routed_tokens_ = static_cast<double>(step.rows_per_group);
  RowOps& rows = RowOpsOf(step);
  ops_.clear();
  if (step.rows_per_group > 0) lowering_.LowerCache(step, SlowestLoad(step), ops_);
  if (profile_) return PredictProfiled(step, rows);
  std::array<Seconds, kStepPartCount> parts{};
  Gaps gaps;  // none without a profile
  const auto add_rows = [&](size_t first, size_t end) {
    for (size_t i = first; i < end; ++i) {
      const RowOps::Each& each = rows.priced[i];
      parts[static_cast<size_t>(each.part)] +=
          each.by_load ? PriceLoads(rows.ops[i], step, gaps).time : each.price.time;
    }
  };
  add_rows(0, rows.before);
  Seconds cache_writes;
  for (const CountedOp& counted : ops_) {
    const Seconds op_time = AnalyticTime(counted);
    parts[static_cast<size_t>(PartOf(counted.op))] += op_time;
    if (std::holds_alternative<KvAppend>(counted.op)) cache_writes += op_time;
  }
  add_rows(rows.before, rows.ops.size());
  const Seconds gpu = parts[0] + parts[1] + parts[2] + parts[3];
  Seconds& host = parts[static_cast<size_t>(StepPart::kHost)];
  const int64_t launches = rows.launches + LaunchCount(ops_);
  for (const Seconds item : HostTimes(step, gpu, launches)) host += item;
  const Seconds sum = gpu + host;
  StepTime time{.total = RoundUpToNs(sum),
                .attention = parts[static_cast<size_t>(StepPart::kAttention)],
                .experts = parts[static_cast<size_t>(StepPart::kExperts)],
                .dense = parts[static_cast<size_t>(StepPart::kDense)],
                .collectives = parts[static_cast<size_t>(StepPart::kCollectives)],
                .host = host,
                .cache_writes = cache_writes};
  time.by_label[static_cast<size_t>(Label::kAnalytic)] = sum;
  return time;
}

}  // namespace moecast
