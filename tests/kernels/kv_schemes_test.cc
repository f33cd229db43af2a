// The named schemes, and the committed table of their errors.
#include "kernels/harness/kv_schemes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>

#include "kernels/harness/kv_accuracy.h"
#include "kernels/harness/kv_accuracy_table.h"

namespace moecast::kernels {
namespace {

using ::testing::HasSubstr;

const std::filesystem::path kSchemes = "kernels/data/kv_schemes.csv";

std::vector<NamedScheme> Schemes() {
  auto schemes = ReadKvSchemes(kSchemes);
  EXPECT_TRUE(schemes.ok()) << ToString(schemes.errors());
  return schemes.ok() ? std::move(schemes).value() : std::vector<NamedScheme>{};
}

TEST(KvSchemes, AreTheNamesThatProfilesAndPoliciesUse) {
  std::set<std::string> names;
  for (const NamedScheme& scheme : Schemes()) names.insert(scheme.name);
  EXPECT_THAT(names,
              ::testing::ElementsAre("asymkv", "bf16", "fp8_e4m3", "fp8_e5m2", "int4", "int8",
                                     "kivi2", "kivi4", "oscar_int2", "saw_int4", "xquant"));
}

TEST(KvSchemes, OneScalePerTokenAndHeadFollowsTheHeadsWidth) {
  for (const NamedScheme& named : Schemes()) {
    for (const int head_dim : {64, 128}) {
      const KvScheme scheme = ForHeads(named.scheme, head_dim);
      EXPECT_TRUE(Fits(scheme, head_dim)) << named.name;
      if (named.name == "int4") {
        EXPECT_EQ(scheme.values.group, head_dim);
      }
      if (named.name == "kivi2") {
        EXPECT_EQ(scheme.values.group, 32);
      }
    }
  }
}

// Both schemes' second kinds of layer.
TEST(KvSchemes, XquantPullsInEndPointsAndSharesValuesOnly) {
  int shared = 0;
  for (const NamedScheme& named : Schemes()) {
    if (named.name == "asymkv") {
      EXPECT_EQ(named.scheme.values.eta, 0);
    }
    if (named.name != "xquant") continue;
    EXPECT_FLOAT_EQ(named.scheme.keys.eta, 0.045F);
    EXPECT_FLOAT_EQ(named.scheme.values.eta, 1.0F / 6);
    EXPECT_FALSE(named.scheme.keys.shares_codes);
    shared += named.scheme.values.shares_codes ? 1 : 0;
  }
  EXPECT_EQ(shared, 1);
}

std::string ErrorsOf(const std::string& row) {
  const auto path = std::filesystem::temp_directory_path() / "kv_schemes_test.csv";
  std::ofstream(path) << "scheme,layer,keys,values,key_axis,group,key_eta,value_eta,shares_keys,"
                         "shares_values,sink,recent,flush,rotation,source\n"
                      << row << '\n';
  const auto read = ReadKvSchemes(path);
  std::filesystem::remove(path);
  return read.ok() ? "" : ToString(read.errors());
}

TEST(KvSchemes, RefusesUnknownElementsAndSchemesNoKernelStores) {
  EXPECT_EQ(ErrorsOf("a,all,int4,int4,token,0,0,0,0,0,0,0,0,none,s"), "");
  EXPECT_THAT(ErrorsOf("a,all,int3,int4,token,0,0,0,0,0,0,0,0,none,s"),
              HasSubstr("unknown value 'int3'"));
  EXPECT_THAT(ErrorsOf("a,all,int2,int2,channel,32,0,0,0,0,0,0,0,none,s"),
              HasSubstr("none that the kernels store"));
  EXPECT_THAT(ErrorsOf("a,all,int2,int2,channel,32,0.5,0,0,0,0,0,128,none,s"),
              HasSubstr("eta is not in [0, 0.5)"));
  EXPECT_THAT(ErrorsOf("a,all,int2,int2,channel,32,0,0,0,0,0,0,-1,none,s"), HasSubstr(":2: flush"));
}

class KvAccuracy : public ::testing::Test {
 protected:
  void SetUp() override {
    auto table = ReadKvAccuracy("kernels/data/kv_accuracy.csv");
    ASSERT_TRUE(table.ok()) << ToString(table.errors());
    table_ = std::move(table).value();
  }
  [[nodiscard]] double Error(const std::string& scheme, const std::string& data) const {
    for (const KvAccuracyRow& row : table_) {
      if (row.scheme == scheme && row.data == data && row.head_dim == 128) return row.output_error;
    }
    ADD_FAILURE() << scheme << " " << data;
    return 0;
  }

  std::vector<KvAccuracyRow> table_;
};

TEST_F(KvAccuracy, CommittedTableHasEverySchemeOnEveryKindOfData) {
  for (const NamedScheme& named : Schemes()) {
    for (const KvDataKind kind : kKvDataKinds) {
      EXPECT_TRUE(std::any_of(table_.begin(), table_.end(),
                              [&](const KvAccuracyRow& row) {
                                return row.scheme == named.name && row.layer == named.layer &&
                                       row.data == Name(kind);
                              }))
          << named.name << " " << named.layer;
    }
  }
}

// What moecast_kv_accuracy writes, for the cheapest rows; libraries may sum in another order.
TEST_F(KvAccuracy, CommittedRowsAreTheOnesTheReferenceComputes) {
  const std::vector<NamedScheme> schemes = Schemes();
  for (const NamedScheme& named : schemes) {
    if (named.name != "int4" && named.name != "kivi2" && named.name != "fp8_e4m3") continue;
    const KvScheme scheme = ForHeads(named.scheme, 64);
    const KvError error = SchemeError(scheme, KvDataKind::kRealShaped, 64, kAccuracyTokens);
    const auto committed =
        OutputError(table_, {.scheme = named.name, .head_dim = 64, .group = scheme.values.group});
    ASSERT_TRUE(committed.has_value());
    EXPECT_NEAR(error.output / *committed, 1, 1e-3) << named.name;
  }
}

TEST_F(KvAccuracy, ErrorsFallWithBitsAndRotationHelpsWhereChannelsDiffer) {
  for (const char* data : {"gaussian", "outliers", "real_shaped"}) {
    EXPECT_EQ(Error("bf16", data), 0);
    EXPECT_LT(Error("int8", data), Error("fp8_e4m3", data));
    EXPECT_LT(Error("fp8_e4m3", data), Error("fp8_e5m2", data));
    EXPECT_LT(Error("fp8_e4m3", data), Error("kivi4", data));
    EXPECT_LT(Error("kivi4", data), Error("kivi2", data));
  }
  for (const char* data : {"outliers", "real_shaped"}) {
    EXPECT_LT(Error("saw_int4", data), 0.6 * Error("int4", data));
    EXPECT_LT(Error("kivi4", data), 0.6 * Error("int4", data));
  }
}

}  // namespace
}  // namespace moecast::kernels
