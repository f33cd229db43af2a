#include "sim/policy/kv_policy.h"

#include <gtest/gtest.h>

#include "tests/support/kv_schemes.h"

namespace moecast {
namespace {

KvBits Bits(const KvPolicy& policy) {
  const ModelSpec model = test::Llama8B();
  return BitsOf(PlanKv(policy, model).stores.front(), KvElementsOf(model, 1));
}

XQuantKv XQuant(int64_t kq, int64_t vq, int64_t km, int64_t vm) {
  return {.scheme = test::Kivi(2, 128, "xquant"),
          .key_layers = kq,
          .value_layers = vq,
          .shared_keys_from = km,
          .shared_values_from = vm};
}

TEST(KvPolicy, EquivalentBitsAreThePublishedOnes) {
  EXPECT_EQ(Bits(UniformKv{test::Kivi(2)}).equivalent, 2.0);
  EXPECT_EQ(Bits(AsymKv{.scheme = test::Kivi(2), .key_layers = 32}).equivalent, 1.5);
  EXPECT_EQ(Bits(XQuant(32, 0, 32, 16)).equivalent, 1.375);  // "1.38", Mistral
  EXPECT_EQ(Bits(XQuant(30, 2, 32, 16)).equivalent, 1.375);
  EXPECT_EQ(Bits(XQuant(28, 0, 32, 28)).equivalent, 1.40625);  // "1.40", Llama-2
  EXPECT_EQ(Bits(XQuant(32, 0, 32, 20)).equivalent, 1.40625);
  EXPECT_EQ(Bits(XQuant(26, 0, 32, 0)).equivalent, 1.15625);
}

TEST(KvPolicy, StoredBitsHoldScalesAndZeroPointsToo) {
  EXPECT_EQ(Bits(UniformKv{test::Kivi(2)}).stored, 3.0);
  EXPECT_EQ(Bits(AsymKv{.scheme = test::Kivi(2), .key_layers = 32}).stored, 2.5);
  EXPECT_EQ(Bits(XQuant(32, 0, 32, 16)).stored, 2.375);
  EXPECT_EQ(Bits(XQuant(26, 0, 32, 0)).stored, 2.15625);
}

TEST(KvPolicy, SharedCodesSaveCapacityAndAreReadAgain) {
  EXPECT_EQ(Bits(XQuant(32, 0, 32, 16)).read, Bits(XQuant(32, 0, 32, 32)).read);
  EXPECT_LT(Bits(XQuant(32, 0, 32, 16)).stored, Bits(XQuant(32, 0, 32, 32)).stored);
  EXPECT_EQ(Bits(XQuant(32, 0, 32, 16)).read, 2.5);
}

TEST(KvPolicy, XQuantBytesPerTokenOfLlama8BAreThePublishedOnes) {
  const ModelSpec model = test::Llama8B();
  const KvPlan plan = PlanKv(XQuant(32, 0, 32, 16), model);
  EXPECT_EQ(ChargeOf(plan.stores.front(), KvElementsOf(model, 1)).per_token, 19456);
}

TEST(KvPolicy, AsymKvIsXQuantWithoutSharing) {
  const KvPlan a =
      PlanKv(AsymKv{.scheme = test::Kivi(2), .key_layers = 20, .value_layers = 8}, test::Llama8B());
  KvPlan b = PlanKv(XQuant(20, 8, 32, 32), test::Llama8B());
  ASSERT_EQ(a.stores.front().classes.size(), b.stores.front().classes.size());
  for (size_t i = 0; i < a.stores.front().classes.size(); ++i) {
    EXPECT_EQ(a.stores.front().classes[i].layer, b.stores.front().classes[i].layer);
    EXPECT_EQ(a.stores.front().classes[i].layers(), b.stores.front().classes[i].layers());
  }
}

TEST(KvPolicy, MoreSharingNeverTakesMoreAndNeverReadsLess) {
  double stored = 16;
  for (int64_t from = 32; from >= 0; --from) {
    const KvBits bits = Bits(XQuant(16, 16, from, from));
    EXPECT_LE(bits.stored, stored);
    EXPECT_EQ(bits.read, Bits(XQuant(16, 16, 32, 32)).read);
    stored = bits.stored;
  }
}

TEST(KvPolicy, AMixByLayerHasTheMeanOfItsSchemes) {
  const KvByLayer policy{.runs = {{.layers = 8, .scheme = test::PlainKv(16, "bf16")},
                                  {.layers = 24, .scheme = test::PlainKv(8, "fp8")}}};
  EXPECT_EQ(Bits(policy).stored, (8 * 16 + 24 * 8) / 32.0);
}

TEST(KvPolicy, AMixByAgeEndsInTheBitsOfOldTokens) {
  const KvByAge policy{.bands = {{.newest = 256, .scheme = test::PlainKv(16, "bf16")},
                                 {.newest = 2048, .scheme = test::PlainKv(8, "fp8")}},
                       .oldest = test::PlainKv(4, "int4"),
                       .sink = 0,
                       .flush = 1};
  EXPECT_EQ(Bits(policy).stored, 4);
  const ModelSpec model = test::Llama8B();
  const KvStore store = PlanKv(policy, model).stores.front();
  const double per_bit = 2 * 1024 * 32 / 8.0;
  EXPECT_EQ(HeldBytes(store, KvElementsOf(model, 1), 10000),
            per_bit * (256 * 16 + (2048 - 256) * 8 + (10000 - 2048) * 4));
}

TEST(KvPolicy, SchemesInWhichEveryTokenIsAlikeArePlain) {
  const ModelSpec model = test::Llama8B();
  EXPECT_TRUE(PlanKv(UniformKv{test::PlainKv(8, "fp8")}, model).plain());
  EXPECT_FALSE(PlanKv(UniformKv{test::Kivi(2)}, model).plain());
  EXPECT_FALSE(
      PlanKv(KvSlidingEviction{.scheme = test::PlainKv(8, "fp8"), .window = 9}, model).plain());
}

}  // namespace
}  // namespace moecast
