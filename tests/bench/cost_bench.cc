// Time of one StepCost::Predict: a dense model, a MoE model on one GPU, and 94 MoE layers over 8
// expert ranks.
#include <benchmark/benchmark.h>

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
  StepCost cost(model, p, test::Bf16(), test::TinyDevice(), test::TinyFabric(), Plausible());
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

}  // namespace
}  // namespace moecast
