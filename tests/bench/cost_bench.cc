// Time of one StepCost::Predict: a dense model, a MoE model on one GPU, and 94 MoE layers over 8
// expert ranks. And of one expert layer priced from a profile, memoised and cold.
#include <benchmark/benchmark.h>

#include <memory>
#include <vector>

#include "sim/cost/step_cost.h"
#include "tests/sim/cost/cost_builders.h"
#include "tests/sim/model/model_builders.h"

namespace moecast {
namespace {

Efficiencies Plausible() {
  Efficiencies e = test::Ideal();
  for (ClassEfficiency* c : {&e.gemm, &e.experts, &e.route, &e.decode_attention,
                             &e.prefill_attention, &e.elementwise, &e.collective}) {
    *c = {.memory = 0.7, .compute = 0.6, .fixed = Seconds(3e-6)};
  }
  return e;
}

/// 64 decodes and one prefill chunk per group; loads that differ from rank to rank.
test::Step MixedStep(int64_t groups, int64_t loads) {
  test::Step step;
  step.graph = false;
  step.groups.resize(static_cast<size_t>(groups));
  for (AttentionLoad& load : step.groups) {
    for (int i = 1; i <= 64; ++i) test::AddDecode(load, 100 * i, 100 * i);
    test::AddPrefill(load, 512, 300, 1 << 20);
  }
  for (int64_t i = 0; i < loads; ++i) {
    step.experts.push_back(test::LoadOf(static_cast<double>(3 + i % 7), 2.5, 4));
  }
  return step;
}

void Predict(benchmark::State& state, const ModelSpec& model, const Parallelism& p) {
  StepCost cost(model, p, test::Bf16Kv(model), test::TinyDevice(), test::TinyFabric(), Plausible());
  const test::Step step = MixedStep(p.data, model.moe_layer_count() * p.expert);
  const StepShape shape = step.Shape();
  for (auto _ : state) benchmark::DoNotOptimize(cost.Predict(shape));
}

void PredictDense(benchmark::State& state) {
  ModelSpec model = test::Qwen3_235B();
  model.moe.reset();
  model.dense_intermediate = 25600;
  model.layers.assign(64, LayerSpec{});
  Predict(state, model, {});
}
BENCHMARK(PredictDense);

void PredictMlaMoe(benchmark::State& state) { Predict(state, test::DeepSeekV2Lite(), {}); }
BENCHMARK(PredictMlaMoe);

void PredictMoe94LayersOneRank(benchmark::State& state) { Predict(state, test::Qwen3_235B(), {}); }
BENCHMARK(PredictMoe94LayersOneRank);

void PredictMoe94LayersEightTensorRanks(benchmark::State& state) {
  Predict(state, test::Qwen3_235B(), {.tensor = 8, .expert = 8});
}
BENCHMARK(PredictMoe94LayersEightTensorRanks);

void PredictMoe94LayersEightDataRanks(benchmark::State& state) {
  Predict(state, test::Qwen3_235B(), {.data = 8, .expert = 8});
}
BENCHMARK(PredictMoe94LayersEightDataRanks);

/// A profile of one fused expert kernel with 125 rows, the size of a shape in the shipped ones.
std::shared_ptr<const Profile> SmallProfile() {
  Profile profile;
  KernelProfile kernel;
  kernel.op = "experts";
  kernel.format = "bf16";
  ShapeProfile shape;
  shape.shape[Feature::kHidden] = 4096;
  shape.shape[Feature::kIntermediate] = 1536;
  shape.shape[Feature::kExperts] = 128;
  shape.fit = {.fixed = 5e-6,
               .per_memory = {1e-13, 1e-12, 0},
               .per_compute = 1e-15,
               .per_chain = 1e-11,
               .sharpness = 2,
               .rows_per_pass = 32};
  constexpr int kRows = 125;
  for (int i = 0; i < kRows; ++i) {
    const double distinct = 1 + i;
    shape.rows.push_back({.axes = {distinct, 2 * distinct, distinct, 8 * distinct, 4},
                          .seconds = 1e-5 + 1e-6 * distinct,
                          .weight = 0.001 * (i % 7)});
  }
  kernel.shapes.push_back(shape);
  profile.kernels.push_back(kernel);
  return std::make_shared<const Profile>(profile);
}

/// Loads of one expert layer; `distinct_loads` different ones, asked for in turn.
void PredictExpertLayer(benchmark::State& state) {
  ProfileCost cost(SmallProfile(), test::TinyDevice(),
                   ExpertLayerShape{.hidden = 4096,
                                    .intermediate = 1536,
                                    .experts = 128,
                                    .top_k = 8,
                                    .format = test::Bf16()});
  const auto distinct_loads = static_cast<int64_t>(state.range(0));
  int64_t i = 0;
  for (auto _ : state) {
    i = i + 1 < distinct_loads ? i + 1 : 0;
    const double distinct = 60.5 + static_cast<double>(i) * 1e-4;
    const ExpertLoad load{
        .assignments = 512, .distinct = distinct, .padded_rows = 9 * distinct, .max_expert = 11};
    benchmark::DoNotOptimize(cost.ExpertTime(64, load));
  }
}
BENCHMARK(PredictExpertLayer)->Name("PredictExpertLayerMemoised")->Arg(8);
BENCHMARK(PredictExpertLayer)->Name("PredictExpertLayerCold")->Arg(1 << 20);

}  // namespace
}  // namespace moecast
