// StepCost::Explain: the arithmetic of one step, line by line.
#include <algorithm>
#include <initializer_list>
#include <string>
#include <string_view>

#include "sim/base/check.h"
#include "sim/base/text.h"
#include "sim/cost/op_class.h"
#include "sim/cost/step_cost.h"

namespace moecast {
namespace {

std::string Text(int64_t n) { return std::to_string(n); }
std::string Text(double x) { return Fixed(x, 1); }

std::string Join(std::initializer_list<std::string_view> parts) {
  std::string text;
  for (const std::string_view part : parts) text += part;
  return text;
}

std::string ShapeOf(const Gemm& op) {
  const std::string product = Join({"[", Text(op.rows), ", ", Text(op.k), "] x [", Text(op.k), ", ",
                                    Text(op.n), "] ", op.format->name});
  return op.batch == 1 ? product : Join({Text(op.batch), " * ", product});
}

/// Mean of a field over the layers' fullest ranks.
double MeanOfFullest(const ExpertGemm& op, double ExpertLoad::*field) {
  if (op.loads.empty()) return 0;
  const auto ranks = static_cast<size_t>(op.ranks);
  double sum = 0;
  for (size_t first = 0; first < op.loads.size(); first += ranks) {
    double fullest = 0;
    for (const ExpertLoad& load : op.loads.subspan(first, ranks)) {
      fullest = std::max(fullest, load.*field);
    }
    sum += fullest;
  }
  return sum * static_cast<double>(ranks) / static_cast<double>(op.loads.size());
}

std::string ShapeOf(const ExpertGemm& op) {
  return Join({"per layer, fullest rank: assignments ",
               Text(MeanOfFullest(op, &ExpertLoad::assignments)), ", distinct ",
               Text(MeanOfFullest(op, &ExpertLoad::distinct)), ", padded rows ",
               Text(MeanOfFullest(op, &ExpertLoad::padded_rows)), "; expert 3 x [", Text(op.hidden),
               ", ", Text(op.intermediate), "] ", op.format->name});
}

std::string ShapeOf(const ExpertExchange& op) {
  return Join({Text(op.gpus), " GPUs, fullest receives ", Text(MeanFullestRows(op)), " rows of ",
               Text(op.bytes_per_row), " B"});
}

std::string ShapeOf(const RouteTokens& op) {
  const std::string rule = op.selection == SelectionKind::kNative
                               ? std::string()
                               : ", rule " + std::string(SelectionName(op.selection));
  return Join({Text(op.rows), " rows, top ", Text(op.top_k), " of ", Text(op.experts)}) + rule;
}

std::string ShapeOf(const DecodeAttention& op) {
  return Join({Text(op.sequences), " sequences, ", Text(op.context), " cached tokens of ",
               Text(op.kv_bytes_per_token), " B, ", Text(op.heads), " heads"});
}

std::string ShapeOf(const PrefillAttention& op) {
  return Join({Text(op.tokens), " tokens, ", Fixed(op.pairs, 0), " pairs, ", Text(op.context),
               " cached tokens of ", Text(op.kv_bytes_per_token), " B, ", Text(op.heads),
               " heads"});
}

std::string ShapeOf(const SelectTokens& op) {
  return Join({Text(op.context), " cached tokens scored, ", Text(op.flops_per_context_token),
               " operations each"});
}

std::string ShapeOf(const LinearAttentionScan& op) {
  return Join({Text(op.tokens), " tokens of ", Text(op.sequences), " sequences, ",
               HumanBytes(op.state_bytes_per_sequence), " of state traffic each"});
}

std::string ShapeOf(const KvAppend& op) {
  return Join({Text(op.tokens), " tokens of ", Text(op.bytes_per_token), " B",
               op.kv.scheme.empty() ? "" : " in ", op.kv.scheme});
}

std::string ShapeOf(const Elementwise& op) {
  return Join({Text(op.rows), " rows of ", Text(op.bytes_per_row), " B"});
}

std::string ShapeOf(const ExtraWork& op) {
  const double weights = op.what->weights * op.what->format.bytes_per_element();
  return Join({Text(op.rows), " rows of ", Text(op.what->bytes_per_row), " B and ",
               Text(op.what->flops_per_row), " operations, ", HumanBytes(weights), " of weights"});
}

std::string ShapeOf(const Collective& op) {
  return Join({Text(op.ranks), " GPUs, ", HumanBytes(op.bytes), " each"});
}

/// The weights' format, if the op multiplies weights.
const TensorFormat* FormatOf(const Op& op) {
  if (const auto* gemm = std::get_if<Gemm>(&op)) return gemm->format;
  if (const auto* experts = std::get_if<ExpertGemm>(&op)) return experts->format;
  if (const auto* extra = std::get_if<ExtraWork>(&op)) return &extra->what->format;
  return nullptr;
}

/// What a reader must know about how weights of this op are multiplied, or nothing.
std::string ExpansionNote(const TensorFormat& format, const Roofline& roofline) {
  const OpFeatures f{
      .compute = format.compute, .otherwise = format.otherwise, .expanded = format.expanded};
  const std::string_view unit = ComputeClassName(roofline.UnitOf(f));
  if (!roofline.native(format.compute)) {
    return Join({format.name, " is not multiplied natively here: dequantised to ", unit});
  }
  return format.expanded ? Join({format.name, " is dequantised to ", unit}) : std::string();
}

/// What sets the time: the fixed part when it exceeds both bounds, else the larger bound.
std::string_view BoundName(const OpLine& line) {
  const Seconds larger = std::max(line.memory_bound, line.compute_bound);
  if (line.each - larger > larger) return "latency";
  return line.memory_bound >= line.compute_bound ? "memory" : "compute";
}

}  // namespace

void StepCost::ExplainBounds(const ExpertGemm& op, OpLine& line) const {
  const auto ranks = static_cast<size_t>(op.ranks);
  const size_t layers = op.loads.size() / ranks;
  Bounds bounds;
  for (size_t first = 0; first < op.loads.size(); first += ranks) {
    const std::span<const ExpertLoad> loads = op.loads.subspan(first, ranks);
    double assignments = 0;
    for (const ExpertLoad& load : loads) assignments += load.assignments;
    const ExpertLoad* slowest = &loads.front();
    Bounds layer = BoundsOf(op, *slowest, assignments);
    for (const ExpertLoad& load : loads) {
      const Bounds rank = BoundsOf(op, load, assignments);
      if (rank.larger() > layer.larger()) {
        slowest = &load;
        layer = rank;
      }
    }
    const ExpertFeatures work = Features(op, *slowest, assignments);
    line.bytes += work.most.bytes + work.mixed.bytes;
    line.flops += work.most.flops + work.mixed.flops;
    bounds.memory += layer.memory;
    bounds.compute += layer.compute;
  }
  const double mean = 1 / static_cast<double>(layers);
  line.bytes = line.bytes * mean;
  line.flops = line.flops * mean;
  line.memory_bound = bounds.memory * mean;
  line.compute_bound = bounds.compute * mean;
  line.bound = BoundName(line);
}

void StepCost::ExplainWork(const CollectiveWork& work, OpLine& line) const {
  line.bytes = work.wire;
  line.memory_bound = collective_.Transfer(line.bytes);
  line.bound = line.each - line.memory_bound > line.memory_bound ? "latency" : "link";
}

template <class Body>
void StepCost::ExplainBounds(const Body& op, OpLine& line) const {
  const OpFeatures f = Features(op);
  const Bounds bounds = roofline_.BoundsOf(ClassOf(op), f);
  line.bytes = f.bytes;
  line.flops = f.flops;
  line.memory_bound = bounds.memory;
  line.compute_bound = bounds.compute;
  line.bound = BoundName(line);
}

OpLine StepCost::LineOf(const CountedOp& counted, Gaps& gaps) {
  OpLine line{.name = std::string(OpName(counted.op)),
              .shape = std::visit([](const auto& op) { return ShapeOf(op); }, counted.op),
              .part = PartOf(counted.op),
              .count = counted.count,
              .all = PriceOf(counted, gaps).time};
  line.each = Seconds(line.all.count() / static_cast<double>(counted.count));
  std::visit(
      Overloaded{[&](const Collective& op) { ExplainWork(collective_.WorkOf(op), line); },
                 [&](const ExpertExchange& op) { ExplainWork(CollectiveCost::WorkOf(op), line); },
                 [&](const auto& op) { ExplainBounds(op, line); }},
      counted.op);
  const TensorFormat* format = FormatOf(counted.op);
  if (format != nullptr) line.note = ExpansionNote(*format, roofline_);
  const auto* experts = std::get_if<ExpertGemm>(&counted.op);
  if (experts != nullptr && experts->mixed_format != nullptr) {
    const std::string mixed = ExpansionNote(*experts->mixed_format, roofline_);
    line.note += Join({line.note.empty() ? "" : "; ", "experts of the mix in ",
                       experts->mixed_format->name, mixed.empty() ? "" : "; ", mixed});
  }
  if (profile_) ExplainProfile(counted, line);
  return line;
}

std::vector<OpLine> StepCost::Explain(const StepShape& step) {
  routed_tokens_ = static_cast<double>(step.rows_per_group);
  lowering_.Lower(step, SlowestLoad(step), ops_);
  std::vector<OpLine> lines;
  std::array<Seconds, kStepPartCount> parts{};
  Gaps gaps;
  for (const CountedOp& counted : ops_) {
    lines.push_back(LineOf(counted, gaps));
    parts[static_cast<size_t>(lines.back().part)] += lines.back().all;
  }
  const auto add_gaps = [&](std::string_view name, std::string_view kernels, int64_t count,
                            Seconds all) {
    if (all.count() == 0) return;
    lines.push_back({.name = std::string(name),
                     .shape = Join({"of ", Text(count), kernels}),
                     .part = StepPart::kDense,
                     .count = count,
                     .each = Seconds(all.count() / static_cast<double>(count)),
                     .all = all,
                     .bound = "latency",
                     .label = Label::kAnalytic});
    parts[static_cast<size_t>(StepPart::kDense)] += all;
  };
  add_gaps("kernel.gaps", " measured kernels", gaps.kernels, PriceGaps(step, gaps.kernels).time);
  add_gaps("kernel.narrow_gaps", " on a cache in codes", gaps.in_codes,
           PriceNarrowGaps(gaps.in_codes).time);
  const Seconds gpu = parts[0] + parts[1] + parts[2] + parts[3];
  const std::array<Seconds, kHostItems> host = HostTimes(step, gpu, LaunchCount(ops_));
  const std::array<std::string_view, kHostItems> names{
      "host.step", "host.sequences", "host.prefill_tokens", "host.exposed_launches"};
  for (size_t i = 0; i < host.size(); ++i) {
    lines.push_back({.name = std::string(names[i]),
                     .part = StepPart::kHost,
                     .each = host[i],
                     .all = host[i],
                     .bound = "host"});
  }
  return lines;
}

}  // namespace moecast
