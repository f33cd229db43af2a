// INV-6 on random models, parallelisms and steps: at least 1 ns, at least the datasheet roofline,
// and never less when work is added.
#include <gtest/gtest.h>

#include <vector>

#include "sim/cost/step_cost.h"
#include "tests/sim/cost/cost_builders.h"
#include "tests/sim/model/model_builders.h"
#include "tests/support/property.h"

namespace moecast {
namespace {

constexpr int64_t kWindow = 64;

int64_t Below(RngStream& rng, uint64_t bound) { return static_cast<int64_t>(rng.NextBelow(bound)); }

template <class T>
const T& Pick(RngStream& rng, const std::vector<T>& from) {
  return from[rng.NextBelow(from.size())];
}

ModelSpec RandomModel(RngStream& rng) {
  ModelSpec model = Pick<ModelSpec>(
      rng, {test::TinyDenseModel(), test::TinyMoeModel(16, 3), test::DeepSeekV2Lite()});
  model.hidden = 8 * (1 + Below(rng, 64));
  if (rng.NextBelow(2) == 0) {
    model.layers.front().attention = AttentionKind::kSlidingWindow;
    model.sliding_window = kWindow;
  }
  if (rng.NextBelow(2) == 0) {
    model.layers.back().attention = AttentionKind::kLinear;
    model.linear_attention = LinearAttention{.key_heads = 4,
                                             .value_heads = 8,
                                             .key_head_dim = 16,
                                             .value_head_dim = 16,
                                             .conv_width = 4};
  }
  model.formats.experts = Pick<TensorFormat>(
      rng, {test::Bf16(), {.name = "fp8", .stored_bits = 8, .compute = ComputeClass::kFp8}});
  return model;
}

Efficiencies RandomEfficiencies(RngStream& rng) {
  Efficiencies e = test::Ideal();
  for (ClassEfficiency* c : {&e.gemm, &e.experts, &e.route, &e.decode_attention,
                             &e.prefill_attention, &e.elementwise, &e.collective}) {
    *c = {.memory = 1 - 0.9 * rng.NextUniform(),
          .compute = 1 - 0.9 * rng.NextUniform(),
          .fixed = Seconds(1e-5 * rng.NextUniform())};
  }
  e.host_per_step = Seconds(1e-4 * rng.NextUniform());
  e.host_per_sequence = Seconds(1e-6 * rng.NextUniform());
  e.eager_launch = Seconds(1e-5 * rng.NextUniform());
  return e;
}

ExpertLoad RandomLoad(RngStream& rng) {
  return test::LoadOf(static_cast<double>(rng.NextBelow(9)), 20 * rng.NextUniform(), 16);
}

test::Step RandomStep(RngStream& rng, const Parallelism& p, int64_t moe_layers) {
  test::Step step;
  step.graph = rng.NextBelow(2) == 0;
  step.groups.resize(static_cast<size_t>(p.data));
  for (AttentionLoad& load : step.groups) {
    const int64_t sequences = Below(rng, 20);
    for (int64_t i = 0; i < sequences; ++i) test::AddDecode(load, 1 + Below(rng, 900), kWindow);
    if (!step.graph && rng.NextBelow(2) == 0) {
      test::AddPrefill(load, 1 + Below(rng, 300), Below(rng, 300), kWindow);
    }
  }
  if (step.graph) step.padded_rows = 32;
  for (int64_t i = 0; i < moe_layers * p.expert; ++i) step.experts.push_back(RandomLoad(rng));
  return step;
}

/// Adds one piece of work of a random kind.
void AddWork(RngStream& rng, test::Step& step) {
  AttentionLoad& load = step.groups[rng.NextBelow(step.groups.size())];
  switch (rng.NextBelow(step.experts.empty() ? 3 : 6)) {
    case 0:
      test::AddDecode(load, 1 + Below(rng, 500), kWindow);
      break;
    case 1:
      if (!step.graph) test::AddPrefill(load, 1 + Below(rng, 200), Below(rng, 200), kWindow);
      break;
    case 2:
      step.padded_rows = step.Shape().rows_per_group + Below(rng, 64);
      break;
    case 3:
      step.experts[rng.NextBelow(step.experts.size())].assignments += 5;
      break;
    case 4:
      step.experts[rng.NextBelow(step.experts.size())].distinct += 1;
      break;
    default:
      step.experts[rng.NextBelow(step.experts.size())].padded_rows += 16;
      break;
  }
}

TEST(StepCostProperty, Inv6NeverBelowTheDatasheetRooflineNorOneNanosecond) {
  test::ForAll("step_cost/roofline", {.cases = 400}, [](RngStream& rng) {
    const ModelSpec model = RandomModel(rng);
    const Parallelism p = Pick<Parallelism>(
        rng, {{}, {.tensor = 2}, {.tensor = 2, .data = 2, .expert = 4}, {.data = 2, .expert = 1}});
    const Parallelism used = model.moe ? p : Parallelism{.tensor = p.tensor};
    const DeviceSpec device = test::TinyDevice();
    const FabricSpec fabric = test::TinyFabric();
    StepCost cost(model, used, test::Bf16Kv(model), device, fabric, RandomEfficiencies(rng));
    const test::Step step = RandomStep(rng, used, model.moe_layer_count());
    double floor = 0;
    for (const OpLine& line : cost.Explain(step.Shape())) {
      const BytesPerSecond rate =
          line.part == StepPart::kCollectives ? fabric.bandwidth : device.hbm_bandwidth;
      const Seconds memory = line.bytes / rate;
      const Seconds compute = line.flops / device.peak_of(ComputeClass::kBf16);
      EXPECT_GE(line.each.count(), memory.count() * (1 - 1e-12)) << line.name;
      EXPECT_GE(line.each.count(), compute.count() * (1 - 1e-12)) << line.name;
      floor += static_cast<double>(line.count) * std::max(memory, compute).count();
    }
    const StepTime time = cost.Predict(step.Shape());
    EXPECT_GE(time.total, Duration(1));
    EXPECT_GE(ToSeconds(time.total), floor * (1 - 1e-12));
  });
}

TEST(StepCostProperty, Inv6MoreWorkNeverTakesLess) {
  test::ForAll("step_cost/monotone", {.cases = 600}, [](RngStream& rng) {
    const ModelSpec model = RandomModel(rng);
    const Parallelism p = Pick<Parallelism>(
        rng, {{}, {.tensor = 2}, {.tensor = 2, .data = 2, .expert = 4}, {.data = 2, .expert = 1}});
    const Parallelism used = model.moe ? p : Parallelism{.tensor = p.tensor};
    StepCost cost(model, used, test::Bf16Kv(model), test::TinyDevice(), test::TinyFabric(),
                  RandomEfficiencies(rng));
    test::Step step = RandomStep(rng, used, model.moe_layer_count());
    Duration before = cost.Predict(step.Shape()).total;
    for (int i = 0; i < 8; ++i) {
      AddWork(rng, step);
      const Duration after = cost.Predict(step.Shape()).total;
      EXPECT_GE(after, before);
      before = after;
    }
  });
}

}  // namespace
}  // namespace moecast
