// A model on the GPU says the same of a token however its prompt is cut: prefilled whole, in
// chunks over a cached past, or decoded; and whatever pages and shared memory held before.
// Skipped without a GPU.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "kernels/execute/model_ops.h"
#include "tests/kernels/shared_memory.h"
#include "tests/sim/model/model_builders.h"

namespace moecast::kernels {
namespace {

constexpr int64_t kPrompt = 150;  // memory-bound expert products throughout

/// Three layers of DeepSeek-V2-Lite, the first one dense.
ModelSpec LatentModel() {
  ModelSpec model = test::DeepSeekV2Lite();
  model.layers.resize(3);
  model.vocabulary = 4096;
  model.max_positions = 1024;
  return model;
}

/// Two layers of OLMoE's shapes.
ModelSpec GroupedModel() {
  ModelSpec model = LatentModel();
  model.attention =
      GqaAttention{.heads = 16, .kv_heads = 16, .head_dim = 128, .value_head_dim = 128};
  model.moe = MoeSpec{.experts = 64, .top_k = 8, .expert_intermediate = 1024};
  model.dense_intermediate = 0;
  model.layers.assign(2, {.feed_forward = FeedForwardKind::kMoe});
  return model;
}

moecast::KvScheme SchemeOf(const std::string& name, double bits, int64_t group) {
  moecast::KvScheme scheme{.name = name};
  scheme.layer.keys.code = {.bits = bits, .group = group};
  scheme.layer.values.code = {.bits = bits, .group = group};
  return scheme;
}

/// Residual 128: keys along tokens, values along channels.
moecast::KvScheme Kivi2() {
  moecast::KvScheme scheme = SchemeOf("kivi2", 2, 32);
  scheme.layer.keys.code.axis = KvAxis::kChannel;
  scheme.layer.keys.flush = 128;
  scheme.layer.values.bands = {{.newest = 128, .code = {.bits = 16}}};
  return scheme;
}

/// What a kernel finds in shared memory before it writes there.
enum class Shared { kAsItIs, kNoNumbers };
constexpr uint8_t kNoNumber = 0xff;  // in every type that a kernel keeps there, integers apart

class OneSequence {
 public:
  OneSequence(const ModelSpec& model, const moecast::KvScheme& kv)
      : model_(model),
        ops_({.model = model,
              .kv = kv,
              .kv_tokens = 4096,
              .max_batch_tokens = 256,
              .max_sequences = 4},
             stream_) {}

  /// Logits of the last token when the prompt is computed in pieces of these lengths; a piece of
  /// one token is a decode. `slot` decides which tokens they are.
  std::vector<float> LogitsAfter(const std::vector<int64_t>& pieces,
                                 Shared shared = Shared::kAsItIs, uint32_t slot = 1) {
    int64_t past = 0;
    std::vector<float> logits;
    for (const int64_t tokens : pieces) {
      logits = Step(slot, past, tokens, shared);
      past += tokens;
    }
    return logits;
  }

 private:
  std::vector<float> Step(uint32_t slot, int64_t past, int64_t tokens, Shared shared) {
    const bool decodes = tokens == 1;
    const SequenceWork work{
        .slot = slot, .past = past, .tokens = tokens, .decodes = decodes, .emits = true};
    const std::vector<uint16_t> experts = ExpertsOf(past, tokens);
    const StepForm form = ops_.Prepare({.sequences = {&work, 1},
                                        .rows = tokens,
                                        .logit_rows = 1,
                                        .graph = decodes,
                                        .experts = experts});
    for (const StepOp& op : ops_.Of(form)) {
      if (shared == Shared::kNoNumbers) test::FillSharedMemory(kNoNumber, stream_.get());
      op.launch();
    }
    stream_.Synchronize();
    return ops_.Logits(form);
  }

  /// A function of layer and position.
  [[nodiscard]] std::vector<uint16_t> ExpertsOf(int64_t past, int64_t tokens) const {
    std::vector<uint16_t> experts;
    for (int64_t layer = 0; layer < model_.moe_layer_count(); ++layer) {
      for (int64_t position = past; position < past + tokens; ++position) {
        for (int64_t j = 0; j < model_.moe->top_k; ++j) {
          const int64_t first = (7 * position + 3 * layer) % model_.moe->experts;
          experts.push_back(static_cast<uint16_t>((first + 5 * j) % model_.moe->experts));
        }
      }
    }
    return experts;
  }

  ModelSpec model_;
  Stream stream_;
  ModelOps ops_;
};

/// Length of the difference over the length of `b`.
double Distance(const std::vector<float>& a, const std::vector<float>& b) {
  double difference = 0;
  double length = 0;
  for (size_t i = 0; i < b.size(); ++i) {
    difference += std::pow(static_cast<double>(a[i]) - static_cast<double>(b[i]), 2);
    length += std::pow(static_cast<double>(b[i]), 2);
  }
  return std::sqrt(difference / length);
}

struct Cut {
  const char* name;
  ModelSpec model;
  moecast::KvScheme kv;
  double tolerance;  // rounding of bf16 over the layers; of codes where the cache has them
};

class ModelOpsOnGpu : public testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    int devices = 0;
    if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
      GTEST_SKIP() << "no GPU on this machine";
    }
  }
  static Cut Case() {
    switch (GetParam()) {
      case 0:
        return {"keys and values in bf16", GroupedModel(), SchemeOf("bf16", 16, 0), 0.05};
      case 1:
        return {"keys and values in fp8", GroupedModel(), SchemeOf("fp8_e4m3", 8, 128), 0.25};
      case 2:
        return {"latents in bf16", LatentModel(), SchemeOf("mla_bf16", 16, 0), 0.05};
      case 3:
        return {"latents in fp8", LatentModel(), SchemeOf("mla_fp8", 8, 128), 0.25};
      case 4:
        return {"latents in 4 bits", LatentModel(), SchemeOf("mla_int4", 4, 128), 0.5};
      case 5:
        return {"keys and values in 8 bits", GroupedModel(), SchemeOf("int8", 8, 128), 0.1};
      default:
        return {"keys and values in 2 bits", GroupedModel(), Kivi2(), 1};
    }
  }
};

TEST_P(ModelOpsOnGpu, SaysTheSameOfATokenHoweverItsPromptIsCut) {
  const Cut cut = Case();
  SCOPED_TRACE(cut.name);
  OneSequence sequence(cut.model, cut.kv);
  const std::vector<float> whole = sequence.LogitsAfter({kPrompt});
  ASSERT_GT(Distance(sequence.LogitsAfter({kPrompt - 7}), whole), 0.5) << "another last token";
  EXPECT_LT(Distance(sequence.LogitsAfter({kPrompt}), whole), 1e-3) << "again";
  EXPECT_LT(Distance(sequence.LogitsAfter({kPrompt - 1, 1}), whole), cut.tolerance) << "decoded";
  EXPECT_LT(Distance(sequence.LogitsAfter({kPrompt - 40, 40}), whole), cut.tolerance)
      << "a chunk over a past";
  EXPECT_LT(Distance(sequence.LogitsAfter({70, 60, 18, 1, 1}), whole), cut.tolerance)
      << "chunks, then decodes";
}

TEST_P(ModelOpsOnGpu, ReadsNothingThatNobodyWrote) {
  const Cut cut = Case();
  SCOPED_TRACE(cut.name);
  // A chunk that ends within a page and a unit of it, decodes up to the page's end and beyond, and
  // a chunk that begins within a unit.
  std::vector<int64_t> pieces{kPrompt - 13};
  pieces.insert(pieces.end(), 60, 1);
  pieces.push_back(21);
  pieces.push_back(1);
  OneSequence sequence(cut.model, cut.kv);
  const std::vector<float> first = sequence.LogitsAfter(pieces);
  ASSERT_TRUE(std::ranges::all_of(first, [](float v) { return std::isfinite(v); }));
  constexpr uint32_t kOther = 2;
  sequence.LogitsAfter({256}, Shared::kAsItIs, kOther);  // whose pages the next one gets
  EXPECT_LT(Distance(sequence.LogitsAfter(pieces, Shared::kNoNumbers), first), 1e-2);
}

INSTANTIATE_TEST_SUITE_P(Caches, ModelOpsOnGpu, testing::Range(0, 7));

}  // namespace
}  // namespace moecast::kernels
