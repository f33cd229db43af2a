#include "sim/model/kv_plan.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "sim/base/rng.h"
#include "tests/sim/model/model_builders.h"
#include "tests/support/kv_schemes.h"

namespace moecast {
namespace {

double BytesPerToken(const ModelSpec& model, const KvScheme& scheme) {
  return ChargeOf(PlanUniformKv(model, scheme).stores.front(), KvElementsOf(model, 1)).per_token;
}

KvScheme Alike(const KvCode& code) {
  return {.name = "alike", .layer = {.keys = {.code = code}, .values = {.code = code}}};
}

TEST(KvPlan, BytesPerTokenOfLlama8BAreThePublishedOnes) {
  const ModelSpec model = test::Llama8B();
  EXPECT_EQ(BytesPerToken(model, test::PlainKv(16, "bf16")), 131072);
  EXPECT_EQ(BytesPerToken(model, test::PlainKv(8, "fp8")), 65536);
  EXPECT_EQ(BytesPerToken(model, Alike({.bits = 4, .group = 16, .metadata_bits = 8})), 36864);
  EXPECT_EQ(BytesPerToken(model, Alike({.bits = 4, .group = 128, .metadata_bits = 32})), 34816);
  EXPECT_EQ(BytesPerToken(model, test::Kivi(2)), 24576);
}

TEST(KvPlan, LatentsAreStoredApartFromTheirRotaryPart) {
  const ModelSpec model = test::DeepSeekV2Lite();
  const auto bytes = [&model](const KvCode& latent) {
    KvScheme scheme{.name = "mla", .layer = {.keys = {.code = latent}, .values = {}}};
    scheme.layer.values.code.bits = 16;
    return BytesPerToken(model, scheme) / 27;
  };
  EXPECT_EQ(bytes({.bits = 16}), 1152);
  EXPECT_EQ(bytes({.bits = 8, .group = 128, .metadata_bits = 32}), 656);
  EXPECT_EQ(bytes({.bits = 2, .group = 128, .metadata_bits = 64}), 288);
}

TEST(KvPlan, TensorRanksSplitHeadsAndKeepAtLeastOne) {
  const ModelSpec model = test::Llama8B();
  EXPECT_EQ(KvElementsOf(model, 4).keys, 2 * 128);
  EXPECT_EQ(KvElementsOf(model, 16).keys, 128);
  EXPECT_EQ(KvElementsOf(test::DeepSeekV2Lite(), 8).keys, 512);
}

TEST(KvBoundary, KeysLeaveTheirWindowTogetherAndValuesOneByOne) {
  const KvBoundary keys{.start = 0, .flush = 128};
  const KvBoundary values{.start = 128, .flush = 1};
  for (int64_t tokens = 0; tokens < 1000; ++tokens) {
    EXPECT_EQ(tokens - keys.Older(tokens), tokens % 128);  // 0 .. R - 1
    EXPECT_EQ(tokens - values.Older(tokens), std::min<int64_t>(tokens, 128));
  }
}

TEST(KvBoundary, SinksAndRecentTokensNeverLeave) {
  const KvBoundary oscar{.start = 64 + 64, .flush = 64};
  EXPECT_EQ(oscar.Older(191), 0);
  EXPECT_EQ(oscar.Older(192), 64);
  for (int64_t tokens = 128; tokens < 1000; ++tokens) {
    const int64_t kept = tokens - oscar.Older(tokens);
    EXPECT_GE(kept, 128);
    EXPECT_LT(kept, 192);
  }
}

/// Bytes of a sequence token by token: which band each is in follows from its age.
double NaiveBytes(const KvSide& side, double elements, int64_t tokens) {
  double bits = 0;
  for (int64_t t = 0; t < tokens; ++t) {
    const KvCode* code = &side.code;
    for (size_t i = side.bands.size(); i-- > 0;) {
      const KvBoundary boundary{.start = side.sink + side.bands[i].newest, .flush = side.flush};
      const bool passed = t >= side.sink && t < side.sink + boundary.Older(tokens);
      if (!passed) code = &side.bands[i].code;
    }
    bits += elements * code->stored_bits();
  }
  return bits / 8;
}

KvSide RandomSide(RngStream& rng) {
  KvSide side{.sink = static_cast<int64_t>(rng.NextBelow(3)) * 4,
              .flush = int64_t{1} << rng.NextBelow(6)};
  double bits = 16;
  int64_t newest = 0;
  for (uint64_t i = rng.NextBelow(3); i > 0; --i) {
    newest += static_cast<int64_t>(rng.NextBelow(40)) + (newest > 0 ? 1 : 0);
    side.bands.push_back({.newest = newest, .code = {.bits = bits}});
    bits /= 2;
  }
  side.code = {.bits = bits / 2, .group = 32, .metadata_bits = 16};
  return side;
}

TEST(KvPlan, HeldBytesAgreeWithLookingAtEveryToken) {
  const ModelSpec model = test::TinyDenseModel();
  const KvElements elements = KvElementsOf(model, 1);
  RngStream rng(Seed{.seed = 3}, "test/kv_plan");
  for (int round = 0; round < 200; ++round) {
    const KvScheme scheme{.name = "x",
                          .layer = {.keys = RandomSide(rng), .values = RandomSide(rng)}};
    const KvStore store = PlanUniformKv(model, scheme).stores.front();
    const auto tokens = static_cast<int64_t>(rng.NextBelow(300));
    const auto layers = static_cast<double>(model.layer_count());
    EXPECT_NEAR(HeldBytes(store, elements, tokens),
                layers * (NaiveBytes(scheme.layer.keys, elements.keys, tokens) +
                          NaiveBytes(scheme.layer.values, elements.values, tokens)),
                1e-6);
  }
}

TEST(KvPlan, ASequenceIsNeverChargedLessThanItHolds) {
  const ModelSpec model = test::TinyDenseModel();
  const KvElements elements = KvElementsOf(model, 1);
  RngStream rng(Seed{.seed = 4}, "test/kv_plan");
  for (int round = 0; round < 100; ++round) {
    const KvScheme scheme{.name = "x",
                          .layer = {.keys = RandomSide(rng), .values = RandomSide(rng)}};
    const KvStore store = PlanUniformKv(model, scheme).stores.front();
    const KvCharge charge = ChargeOf(store, elements);
    for (int64_t tokens = 1; tokens < 300; ++tokens) {
      EXPECT_GE(charge.per_sequence + charge.per_token * static_cast<double>(tokens) + 1e-6,
                HeldBytes(store, elements, tokens));
    }
  }
}

TEST(KvPlan, TheChargeIsExactWhereTheWindowsAreFullest) {
  const ModelSpec model = test::Llama8B();
  const KvElements elements = KvElementsOf(model, 1);
  const KvStore store = PlanUniformKv(model, test::Kivi(2)).stores.front();
  const KvCharge charge = ChargeOf(store, elements);
  // 127 keys and 128 values of 1024 elements in 32 layers, at 16 bits instead of 3.
  EXPECT_EQ(charge.per_sequence, 32 * 1024 * (127 + 128) * (16 - 3) / 8.0);
  for (const int64_t tokens : {127 + 128, 1023, 4095}) {
    EXPECT_EQ(charge.per_sequence + charge.per_token * static_cast<double>(tokens),
              HeldBytes(store, elements, tokens));
  }
}

TEST(KvPlan, MeanBitsOfKiviFallWithContextAsPublished) {
  const ModelSpec model = test::Llama8B();
  const KvElements elements = KvElementsOf(model, 1);
  const KvStore store = PlanUniformKv(model, test::Kivi(2)).stores.front();
  const auto bits = [&](int64_t context) {  // over one sawtooth around the context
    double sum = 0;
    for (int64_t n = context - 64; n < context + 64; ++n) {
      sum += HeldBytes(store, elements, n) * 8 / (32 * 2 * 1024.0 * static_cast<double>(n));
    }
    return sum / 128;
  };
  EXPECT_NEAR(bits(1024), 4.22, 0.02);
  EXPECT_NEAR(bits(4096), 3.31, 0.01);
  EXPECT_NEAR(bits(16384), 3.08, 0.01);
}

TEST(KvPlan, LayersKeptAlikeAreOneClass) {
  ModelSpec model = test::Llama8B();
  model.layers[3].attention = AttentionKind::kSlidingWindow;
  model.sliding_window = 64;
  std::vector<KvScheme> layers(32, test::PlainKv(8, "fp8"));
  layers[0] = test::Kivi(2);
  const KvStore store = MakeKvStore("mix", model, layers);
  ASSERT_EQ(store.classes.size(), 2u);
  EXPECT_EQ(store.classes[0].full_layers, 1);
  EXPECT_EQ(store.classes[1].full_layers, 30);
  EXPECT_EQ(store.classes[1].window_layers, 1);
  EXPECT_EQ(store.boundaries.size(), 2u);
}

}  // namespace
}  // namespace moecast
