#include <algorithm>
#include <bit>
#include <functional>

#include "cluster.pb.h"
#include "cost.pb.h"
#include "scenario.pb.h"
#include "scenarios/convert.h"
#include "sim/base/text.h"

namespace moecast {
namespace {

constexpr double kGiga = 1e9;
constexpr double kTera = 1e12;
constexpr double kMicro = 1e-6;
constexpr double kMebi = 1024.0 * 1024.0;
constexpr double kGibi = 1024.0 * kMebi;

DeviceSpec ConvertGpu(const pb::Gpu& in) {
  DeviceSpec out{.name = in.name(),
                 .hbm_capacity = Bytes(in.memory_gib() * kGibi),
                 .hbm_bandwidth = BytesPerSecond(in.memory_bandwidth_gb_per_s() * kGiga),
                 .l2_capacity = Bytes(in.l2_mib() * kMebi),
                 .multiprocessors = in.multiprocessors()};
  const auto set = [&out](ComputeClass compute, double tera) {
    out.peak[static_cast<size_t>(compute)] = FlopsPerSecond(tera * kTera);
  };
  set(ComputeClass::kBf16, in.peak().bf16_tflop_per_s());
  set(ComputeClass::kFp8, in.peak().fp8_tflop_per_s());
  set(ComputeClass::kInt8, in.peak().int8_top_per_s());
  set(ComputeClass::kFp4, in.peak().fp4_tflop_per_s());
  set(ComputeClass::kInt4, in.peak().int4_top_per_s());
  return out;
}

Router ConvertRouter(const pb::Router& in) {
  if (in.has_least_requests()) return LeastRequests{};
  if (in.has_least_kv()) return LeastKv{};
  return RoundRobin{};
}

ClassEfficiency ConvertClass(const pb::ClassEfficiency& in) {
  return {.memory = in.memory(), .compute = in.compute(), .fixed = Seconds(in.fixed_us() * kMicro)};
}

}  // namespace

void ConvertCluster(const pb::Cluster& in, const FieldReporter& report, Scenario& out) {
  out.device = ConvertGpu(in.gpu());
  out.replicas = in.replicas();
  out.parallelism = {.tensor = in.parallelism().tensor(),
                     .data = in.parallelism().data(),
                     .expert = in.parallelism().expert()};
  out.router = ConvertRouter(in.router());
  if (in.has_fabric()) {
    out.fabric = {.name = in.fabric().name(),
                  .bandwidth = BytesPerSecond(in.fabric().bandwidth_gb_per_s() * kGiga),
                  .latency = Seconds(in.fabric().latency_us() * kMicro)};
  } else if (out.parallelism.gpus() > 1) {
    report("cluster.fabric",
           "is missing, but a replica has " + std::to_string(out.parallelism.gpus()) +
               " GPUs; name the links between them, one of the catalog's fabrics");
  } else {
    out.fabric.name = "none";
  }
  if (const Status fits = CheckParallelism(out.model, out.parallelism); !fits.ok()) {
    for (const Error& error : fits.errors()) report("cluster." + error.where, error.message);
  }
}

void ConvertEngine(const pb::Engine& in, const FieldReporter& report, Scenario& out) {
  out.memory = {.memory_fraction = in.gpu_memory_fraction(),
                .reserved = Bytes(in.reserved_gib() * kGibi),
                .state_sequences = in.max_sequences()};
  out.engine = {.max_batch_tokens = in.max_batch_tokens(),
                .max_sequences = in.max_sequences(),
                .kv_block_tokens = in.kv_block_tokens(),
                .graph_batch_sizes = {in.graph_batch_sizes().begin(), in.graph_batch_sizes().end()},
                .padding = in.graph_padding() == pb::Engine::routed ? GraphPadding::kRouted
                                                                    : GraphPadding::kMasked};
  const std::vector<int64_t>& sizes = out.engine.graph_batch_sizes;
  if (std::adjacent_find(sizes.begin(), sizes.end(), std::greater_equal<>()) != sizes.end()) {
    report("engine.graph_batch_sizes", "must ascend without repeats");
  }
  if (in.max_batch_tokens() < in.max_sequences()) {
    report("engine.max_batch_tokens", "must be at least max_sequences (" +
                                          std::to_string(in.max_sequences()) +
                                          "), or a full decode batch does not fit a step; got " +
                                          std::to_string(in.max_batch_tokens()));
  }
}

namespace {

RuleCosts ConvertRuleCosts(const pb::Efficiencies& in, const FieldReporter& report) {
  const std::vector<std::string> names(kSelectionNames.begin(), kSelectionNames.end());
  std::vector<RuleCost> costs;
  for (int i = 0; i < in.rule_costs_size(); ++i) {
    const pb::RuleCost& cost = in.rule_costs(i);
    const std::string path = "cost.efficiencies.rule_costs." + std::to_string(i);
    const auto name = std::ranges::find(names, cost.name());
    if (name == names.end()) {
      report(path + ".name", "unknown rule '" + cost.name() + "'" + DidYouMean(cost.name(), names));
      continue;
    }
    if (cost.tokens_size() != cost.extra_us_size()) {
      report(path + ".extra_us", "must have one value per entry of tokens (" +
                                     std::to_string(cost.tokens_size()) + "), got " +
                                     std::to_string(cost.extra_us_size()));
    }
    if (!std::is_sorted(cost.tokens().begin(), cost.tokens().end(), std::less_equal<>())) {
      report(path + ".tokens", "must rise from entry to entry");
    }
    RuleCost& out = costs.emplace_back();
    out.rule = static_cast<SelectionKind>(name - names.begin());
    out.tokens.assign(cost.tokens().begin(), cost.tokens().end());
    for (const double extra : cost.extra_us()) out.extra.emplace_back(extra * kMicro);
  }
  return RuleCosts(std::move(costs));
}

}  // namespace

Efficiencies ConvertEfficiencies(const pb::Efficiencies& in, const FieldReporter& report) {
  if (!std::has_single_bit(static_cast<uint64_t>(in.expert_tile_rows()))) {
    report("cost.efficiencies.expert_tile_rows",
           "must be a power of two, got " + std::to_string(in.expert_tile_rows()));
  }
  if (in.error_95() < in.error_80()) {
    report("cost.efficiencies.error_95", "must be at least error_80 (" +
                                             ShortestDouble(in.error_80()) + "), got " +
                                             ShortestDouble(in.error_95()));
  }
  return {.name = in.name(),
          .gemm = ConvertClass(in.gemm()),
          .experts = ConvertClass(in.experts()),
          .route = ConvertClass(in.route()),
          .decode_attention = ConvertClass(in.decode_attention()),
          .prefill_attention = ConvertClass(in.prefill_attention()),
          .elementwise = ConvertClass(in.elementwise()),
          .collective = ConvertClass(in.collective()),
          .narrow_reads = {in.kv_reads().bits_8(), in.kv_reads().bits_4(), in.kv_reads().bits_2(),
                           in.kv_reads().bits_1()},
          .expert_compute_8_bit = in.expert_compute_8_bit(),
          .expert_compute_4_bit = in.expert_compute_4_bit(),
          .rules = ConvertRuleCosts(in, report),
          .expert_tile_rows = in.expert_tile_rows(),
          .host_per_step = Seconds(in.host_per_step_us() * kMicro),
          .host_per_sequence = Seconds(in.host_per_sequence_us() * kMicro),
          .host_per_prefill_token = Seconds(in.host_per_prefill_token_us() * kMicro),
          .host_per_request = Seconds(in.host_per_request_us() * kMicro),
          .error = {.half80 = in.error_80(), .half95 = in.error_95()},
          .eager_launch = Seconds(in.eager_launch_us() * kMicro),
          .graph_gap = Seconds(in.graph_gap_us() * kMicro),
          .prompt_gap = Seconds(in.prompt_gap_us() * kMicro),
          .narrow_gap = Seconds(in.narrow_gap_us() * kMicro)};
}

}  // namespace moecast
