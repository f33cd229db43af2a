// Every entry of the shipped catalog loads, agrees with its file's name and states its sources.
#include "scenarios/catalog.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "tests/scenarios/study_loading.h"

namespace moecast::test {
namespace {

using ::testing::HasSubstr;
using ::testing::IsSupersetOf;

std::vector<std::string> Names(const std::string& kind) {
  Result<std::vector<std::string>> names = Catalog(kCatalog).Names(kind);
  if (!names.ok()) {
    ADD_FAILURE() << ToString(names.errors());
    return {};
  }
  return *names;
}

std::string Override(const std::string& path, const std::string& value) {
  return path + "=" + value;
}

void ExpectLoads(const std::string& path, const std::string& kind) {
  for (const std::string& name : Names(kind)) {
    const Result<Study> study = Parse(kMinimal, {Override(path, name)});
    EXPECT_TRUE(study.ok()) << ToString(study.errors());
  }
}

bool HoldsNumber(const YamlNode& node) {
  if (node.is_scalar()) {
    return !node.quoted && !node.text.empty() &&
           node.text.find_first_not_of("0123456789.e-+") == std::string::npos;
  }
  bool found = false;
  for (const YamlNode& child : node.children) found |= HoldsNumber(child);
  return found;
}

TEST(Catalog, EveryEntryLoads) {
  ExpectLoads("model", "models");
  ExpectLoads("cluster.gpu", "gpus");
  ExpectLoads("cluster.fabric", "fabrics");
  ExpectLoads("model.formats.attention", "formats");
  ExpectLoads("cost.efficiencies", "efficiencies");
}

TEST(Catalog, EveryKvSchemeLoadsOnTheCachesItIsFor) {
  Catalog catalog(kCatalog);
  int loaded = 0;
  for (const std::string& name : Names("kv_schemes")) {
    const YamlNode entry = catalog.Find("kv_schemes", name).value();
    if (entry.Find("parametric") != nullptr) continue;  // stands only in the policy of its name
    const YamlNode* caches = entry.Find("caches");
    const bool latent = caches != nullptr && caches->text == "latent";
    const Result<Study> study = Parse(
        kMinimal,
        {Override("model", latent ? "DeepSeek-V2-Lite" : "Qwen3-8B"), Override("kv.scheme", name)});
    EXPECT_TRUE(study.ok()) << ToString(study.errors());
    ++loaded;
  }
  EXPECT_GE(loaded, 12);
}

TEST(Catalog, EveryChangeFitsAModel) {
  const std::vector<std::string> models{"Llama-2-7B", "Qwen3-32B", "DeepSeek-V2-Lite"};
  for (const std::string& name : Names("changes")) {
    const bool fits = std::any_of(models.begin(), models.end(), [&](const std::string& model) {
      return Parse(kMinimal, {Override("model", model), Override("change", name)}).ok();
    });
    EXPECT_TRUE(fits) << name;
  }
}

TEST(Catalog, EveryNumberHasASource) {
  Catalog catalog(kCatalog);
  for (const char* kind :
       {"models", "gpus", "fabrics", "formats", "kv_schemes", "efficiencies", "changes"}) {
    for (const std::string& name : Names(kind)) {
      const Result<YamlNode> entry = catalog.Find(kind, name);
      ASSERT_TRUE(entry.ok()) << ToString(entry.errors());
      const YamlNode* sources = entry->Find("sources");
      ASSERT_NE(sources, nullptr) << kind << "/" << name;
      for (const YamlNode& source : sources->children) {
        const bool known = source.key == "all" || entry->Find(source.key) != nullptr;
        EXPECT_TRUE(known) << kind << "/" << name << ": source of unknown field " << source.key;
      }
      for (const YamlNode& field : entry->children) {
        if (!HoldsNumber(field) || field.key == "sources" || field.key == "formats") continue;
        EXPECT_TRUE(sources->Find("all") != nullptr || sources->Find(field.key) != nullptr)
            << kind << "/" << name << ": no source for " << field.key;
      }
    }
  }
}

TEST(Catalog, HoldsTheAdvertisedEntries) {
  int moe = 0;
  int dense = 0;
  for (const std::string& name : Names("models")) {
    (OnlyScenario(kMinimal, {Override("model", name)}).model.moe ? moe : dense) += 1;
  }
  EXPECT_GE(moe, 20);
  EXPECT_GE(dense, 4);
  EXPECT_THAT(Names("gpus"),
              IsSupersetOf({"A100-80G-SXM", "A40", "A800-80G-SXM", "B200", "H100-PCIe", "H100-SXM",
                            "H20", "H200-SXM", "L40S", "RTX-3090", "RTX-PRO-6000-Blackwell"}));
  EXPECT_THAT(Names("fabrics"), IsSupersetOf({"IB-200", "IB-400", "NVLink3", "NVLink4", "NVLink5",
                                              "PCIe4-x16", "PCIe5-x16"}));
}

TEST(Catalog, FileAndEntryMustAgreeOnTheName) {
  const Result<Study> study = ParseStudy(kMinimal, "s.yaml", {}, kExamples);
  ASSERT_FALSE(study.ok());
  EXPECT_THAT(ToString(study.errors()), HasSubstr("catalog"));
}

TEST(Catalog, H200MatchesItsDatasheet) {
  const DeviceSpec device = OnlyScenario(kMinimal).device;
  EXPECT_EQ(device.hbm_bandwidth, BytesPerSecond(4.8e12));
  EXPECT_EQ(device.multiprocessors, 132);
  EXPECT_DOUBLE_EQ(device.peak_of(ComputeClass::kBf16).count(), 989.4e12);
  EXPECT_EQ(device.peak_of(ComputeClass::kFp4).count(), 0);
}

}  // namespace
}  // namespace moecast::test
