#include "sim/model/memory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/sim/model/model_builders.h"
#include "tests/support/builders.h"
#include "tests/support/property.h"

namespace moecast {
namespace {

using ::testing::HasSubstr;

constexpr double kGiB = 1024.0 * 1024.0 * 1024.0;

DeviceSpec DeviceOf(double capacity) {
  DeviceSpec device = test::TinyDevice();
  device.name = "gpu";
  device.hbm_capacity = Bytes(capacity);
  return device;
}

const MemoryLimits kAll{.memory_fraction = 1, .reserved = Bytes(0)};

TEST(Memory, OneGpuHoldsEveryMatrixOnce) {
  for (const ModelSpec& model :
       {test::TinyDenseModel(), test::TinyMoeModel(), test::DeepSeekV2Lite(), test::Qwen3_235B()}) {
    EXPECT_DOUBLE_EQ(WeightBytesPerGpu(model, {}).count(), CountParameters(model).total * 2)
        << model.name;
  }
}

TEST(Memory, ExpertAndTensorParallelismSplitRoutedExpertsAlike) {
  const ModelSpec model = test::Qwen3_235B();
  const double wide = WeightBytesPerGpu(model, {.tensor = 4, .expert = 4}).count();
  const double sliced = WeightBytesPerGpu(model, {.tensor = 4, .expert = 1}).count();
  EXPECT_DOUBLE_EQ(wide, sliced);
}

TEST(Memory, AttentionDataParallelismRepeatsAttentionAndSharesExperts) {
  const ModelSpec model = test::TinyMoeModel();
  const double one = WeightBytesPerGpu(model, {}).count();
  const double two = WeightBytesPerGpu(model, {.tensor = 1, .data = 2, .expert = 2}).count();
  EXPECT_DOUBLE_EQ(one - two, 8.0 / 2 * (3 * 8 * 4) * 2);  // half of one layer's routed experts
}

TEST(Memory, KvTokensFillWhatWeightsAndReserveLeave) {
  const ModelSpec model = test::TinyDenseModel();
  const double weights = WeightBytesPerGpu(model, {}).count();
  const double per_token = 2 * 8 * 2;  // layers * elements * bytes
  const auto plan =
      PlanMemory(model, {}, DeviceOf(2 * (weights + 100 + 10 * per_token) + 1), test::Bf16Kv(model),
                 {.memory_fraction = 0.5, .reserved = Bytes(100)});
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(plan->kv_bytes_per_token, per_token);
  EXPECT_EQ(plan->kv_tokens, 10);
}

TEST(Memory, KvHeadsAreReplicatedBeyondTheirNumberAndLatentsAlways) {
  const ModelSpec qwen = test::Qwen3_235B();
  const DeviceSpec huge = DeviceOf(1e13);
  const auto bytes = [&](const ModelSpec& model, int64_t tensor) {
    return PlanMemory(model, {.tensor = tensor}, huge, test::Bf16Kv(model), kAll)
        ->kv_bytes_per_token;
  };
  EXPECT_DOUBLE_EQ(bytes(qwen, 1) / bytes(qwen, 4), 4);
  EXPECT_DOUBLE_EQ(bytes(qwen, 8), bytes(qwen, 4));
  EXPECT_DOUBLE_EQ(bytes(test::DeepSeekV2Lite(), 8), 27.0 * 576 * 2);
}

TEST(Memory, LinearAttentionStateIsTakenBeforeKv) {
  ModelSpec model = test::TinyDenseModel();
  model.layers.front().attention = AttentionKind::kLinear;
  model.linear_attention = LinearAttention{
      .key_heads = 2, .value_heads = 2, .key_head_dim = 3, .value_head_dim = 5, .conv_width = 4};
  const double state = (2 * 3 * 5 + (2 * 2 * 3 + 2 * 5) * (4 - 1)) * 2;
  MemoryLimits limits = kAll;
  limits.state_sequences = 7;
  const auto plan = PlanMemory(model, {}, DeviceOf(1e6), test::Bf16Kv(model), limits);
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(plan->state_bytes_per_sequence, state);
  EXPECT_EQ(plan->state.count(), 7 * state);
  EXPECT_EQ(plan->kv_bytes_per_token, 1 * 8 * 2);  // the other layer
  EXPECT_DOUBLE_EQ(plan->kv_budget.count(), 1e6 - plan->weights.count() - 7 * state);
}

TEST(Memory, ErrorSaysByHowMuchAndWhatWouldFit) {
  const ModelSpec model = test::Qwen3_235B();  // 470 GB of weights
  const auto plan =
      PlanMemory(model, {.tensor = 2, .expert = 2}, DeviceOf(80 * kGiB), test::Bf16Kv(model),
                 {.memory_fraction = 0.9, .reserved = Bytes(4 * kGiB)});
  ASSERT_FALSE(plan.ok());
  const std::string message = ToString(plan.errors());
  EXPECT_THAT(message, HasSubstr("'Qwen3-235B-A22B' does not fit on gpu"));
  EXPECT_THAT(message, HasSubstr("GiB too much"));
  EXPECT_THAT(message, HasSubstr("tensor: 8, data: 1, expert: 8 would fit"));
  EXPECT_THAT(message, HasSubstr("bits each instead of 16.0"));
}

TEST(Memory, SuggestedParallelismFitsAndIsValid) {
  const ModelSpec model = test::Qwen3_235B();
  const DeviceSpec device = DeviceOf(80 * kGiB);
  const MemoryLimits limits{.memory_fraction = 0.9, .reserved = Bytes(4 * kGiB)};
  const Parallelism suggested{.tensor = 8, .data = 1, .expert = 8};
  EXPECT_TRUE(CheckParallelism(model, suggested).ok());
  EXPECT_TRUE(PlanMemory(model, suggested, device, test::Bf16Kv(model), limits).ok());
  EXPECT_FALSE(
      PlanMemory(model, {.tensor = 4, .expert = 4}, device, test::Bf16Kv(model), limits).ok());
}

TEST(Memory, SaysWhenNoReplicaSizeFits) {
  const auto plan =
      PlanMemory(test::Qwen3_235B(), {}, DeviceOf(1e6), test::Bf16Kv(test::Qwen3_235B()), kAll);
  ASSERT_FALSE(plan.ok());
  EXPECT_THAT(ToString(plan.errors()), HasSubstr("no number of gpu GPUs"));
}

TEST(Memory, MoreMemoryNeverHoldsFewerTokens) {
  const ModelSpec model = test::DeepSeekV2Lite();
  test::ForAll("memory/monotone", {.cases = 200}, [&](RngStream& rng) {
    const double small = 32e9 + 1e11 * rng.NextUniform();
    const double large = small + 1e10 * rng.NextUniform();
    const auto a = PlanMemory(model, {}, DeviceOf(small), test::Bf16Kv(model), kAll);
    const auto b = PlanMemory(model, {}, DeviceOf(large), test::Bf16Kv(model), kAll);
    ASSERT_TRUE(a.ok() && b.ok());
    EXPECT_LE(a->kv_tokens, b->kv_tokens);
  });
}

}  // namespace
}  // namespace moecast
