// The 34 public configs of the shared data folder: every column of its table of shapes must come
// out of the importer, and shipped catalog entries must equal what the importer makes of them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <sstream>
#include <string>
#include <variant>
#include <vector>

#include "sim/base/files.h"
#include "tests/scenarios/imported_model.h"

namespace moecast::test {
namespace {

const std::filesystem::path kConfigs = std::filesystem::path(MOECAST_SHARED_DATA) / "hf_configs";

using Row = std::map<std::string, std::string>;

std::vector<std::string> SplitCsv(const std::string& line) {
  std::vector<std::string> fields(1);
  bool quoted = false;
  for (const char c : line) {
    if (c == '"') {
      quoted = !quoted;
    } else if (c == ',' && !quoted) {
      fields.emplace_back();
    } else if (c != '\r') {
      fields.back() += c;
    }
  }
  return fields;
}

std::vector<Row> ReadShapes() {
  std::vector<Row> rows;
  const Result<std::string> text = ReadFile(kConfigs / "shapes.csv");
  if (!text.ok()) return rows;
  std::istringstream lines(*text);
  std::string line;
  std::getline(lines, line);
  const std::vector<std::string> names = SplitCsv(line);
  while (std::getline(lines, line)) {
    const std::vector<std::string> fields = SplitCsv(line);
    Row row;
    for (size_t i = 0; i < names.size(); ++i) row[names[i]] = i < fields.size() ? fields[i] : "";
    rows.push_back(row);
  }
  return rows;
}

int64_t Whole(const std::string& text) { return text.empty() ? 0 : std::stoll(text); }

void ExpectAttention(const Row& row, const ModelSpec& model) {
  EXPECT_EQ(KvElementsPerTokenLayer(model), Whole(row.at("kv_elems_per_tok_layer")));
  if (const auto* mla = std::get_if<MlaAttention>(&model.attention)) {
    EXPECT_EQ(row.at("kv_heads"), "MLA");
    EXPECT_EQ(mla->heads, Whole(row.at("heads")));
    EXPECT_EQ(std::to_string(mla->qk_nope_head_dim) + "+" + std::to_string(mla->qk_rope_head_dim) +
                  "/" + std::to_string(mla->v_head_dim),
              row.at("head_dim"));
    EXPECT_EQ(mla->q_lora_rank.value_or(0), Whole(row.at("q_lora")));
    EXPECT_EQ(mla->kv_lora_rank, Whole(row.at("kv_lora")));
    return;
  }
  const auto& gqa = std::get<GqaAttention>(model.attention);
  EXPECT_EQ(gqa.heads, Whole(row.at("heads")));
  EXPECT_EQ(gqa.kv_heads, Whole(row.at("kv_heads")));
  if (row.at("name") ==
      "openPangu-R-72B-2512") {  // the table's 72 is hidden / heads; config: 128+64/128
    EXPECT_EQ(gqa.head_dim, 192);
    EXPECT_EQ(gqa.value_head_dim, 128);
  } else {
    EXPECT_EQ(gqa.head_dim, Whole(row.at("head_dim")));
  }
}

GateScoring ScoringOf(const Row& row) {
  const std::string& text = row.at("scoring");
  const std::string& type = row.at("model_type");
  if (text.starts_with("softmax per-group")) return GateScoring::kGroupSoftmax;
  if (text == "softmax-after-topk") return GateScoring::kSoftmaxAfterTopK;
  if (text == "sparsemixer") return GateScoring::kSparsemixer;
  if (text.starts_with("softmax")) return GateScoring::kSoftmax;
  return type == "llama4_text" ? GateScoring::kSigmoid : GateScoring::kSigmoidBias;
}

void ExpectMoe(const Row& row, const ModelSpec& model) {
  const MoeSpec& moe = *model.moe;
  EXPECT_EQ(moe.experts, Whole(row.at("experts")));
  EXPECT_EQ(moe.top_k, Whole(row.at("topk")));
  EXPECT_EQ(moe.expert_intermediate, Whole(row.at("expert_inter")));
  EXPECT_EQ(moe.shared_experts, Whole(row.at("shared")));
  EXPECT_EQ(moe.shared_intermediate, Whole(row.at("shared_inter")));
  EXPECT_EQ(moe.scoring, ScoringOf(row));
  EXPECT_EQ(moe.routed_scale, row.at("scale").empty() ? 1 : std::stod(row.at("scale")));
  const bool renormalise = row.at("scoring") == "softmax+renorm" || row.at("norm_topk") == "True";
  const bool stated = renormalise || row.at("norm_topk") == "False";
  EXPECT_TRUE(!stated || moe.renormalise == renormalise);
  const bool moge = moe.scoring == GateScoring::kGroupSoftmax;  // the table leaves its groups out
  EXPECT_EQ(moe.groups, row.at("n_group").empty() ? (moge ? 8 : 1) : Whole(row.at("n_group")));
  EXPECT_EQ(moe.top_groups,
            row.at("topk_group").empty() ? (moge ? 8 : 1) : Whole(row.at("topk_group")));
  constexpr double kBf16Bytes = 2;
  const double mib =
      3.0 * static_cast<double>(model.hidden * moe.expert_intermediate) * kBf16Bytes / (1 << 20);
  EXPECT_NEAR(mib, std::stod(row.at("expert_MiB_bf16")), 0.005 + 1e-9);
}

// A window as long as the longest sequence is none.
int64_t WindowOf(const Row& row) {
  const int64_t window = Whole(row.at("sliding"));
  return window >= Whole(row.at("max_pos")) ? 0 : window;
}

void ExpectShape(const Row& row, const ModelSpec& model) {
  EXPECT_EQ(model.hidden, Whole(row.at("hidden")));
  EXPECT_EQ(model.layer_count(), Whole(row.at("layers")));
  EXPECT_EQ(model.moe_layer_count(), Whole(row.at("moe_layers")));
  EXPECT_EQ(model.layer_count() - model.moe_layer_count(), Whole(row.at("dense_layers")));
  EXPECT_EQ(model.dense_intermediate, Whole(row.at("dense_inter")));
  EXPECT_EQ(model.vocabulary, Whole(row.at("vocab")));
  EXPECT_EQ(model.max_positions, Whole(row.at("max_pos")));
  EXPECT_EQ(model.sliding_window, WindowOf(row));
  ExpectAttention(row, model);
  ExpectMoe(row, model);
  const ParameterCount parameters = CountParameters(model);
  constexpr double kRounding = 0.005;   // the table has two decimals
  constexpr double kSmallParts = 2e-3;  // norms and biases, which the table leaves out
  const double total = std::stod(row.at("total_B"));
  const double active = std::stod(row.at("active_B"));
  EXPECT_NEAR(parameters.total / 1e9, total, kRounding + kSmallParts * total);
  EXPECT_NEAR(parameters.active / 1e9, active, kRounding + kSmallParts * active);
}

TEST(ImportShapes, EveryColumnOfEveryPublicConfig) {
  if (!std::filesystem::exists(kConfigs)) GTEST_SKIP() << "no public configs at " << kConfigs;
  const std::vector<Row> rows = ReadShapes();
  EXPECT_EQ(rows.size(), 34u);
  for (const Row& row : rows) {
    SCOPED_TRACE(row.at("name"));
    const Result<ImportedModel> imported =
        ImportModel(kConfigs / (row.at("name") + ".json"), row.at("name"), kCatalog);
    ASSERT_TRUE(imported.ok()) << ToString(imported.errors());
    ExpectShape(row, LoadImported(*imported));
  }
}

// The part of an entry that holds figures: everything before its sources.
std::string Figures(const std::string& yaml) { return yaml.substr(0, yaml.find("\nsources:")); }

TEST(ImportShapes, ShippedModelsEqualTheirConfigs) {
  if (!std::filesystem::exists(kConfigs)) GTEST_SKIP() << "no public configs at " << kConfigs;
  int compared = 0;
  for (const auto& file : std::filesystem::directory_iterator(kCatalog / "models")) {
    const std::string name = file.path().stem().string();
    const std::filesystem::path config = kConfigs / (name + ".json");
    if (!std::filesystem::exists(config)) continue;
    const Result<ImportedModel> imported = ImportModel(config, name, kCatalog);
    const Result<std::string> shipped = ReadFile(file.path());
    ASSERT_TRUE(imported.ok() && shipped.ok());
    EXPECT_EQ(Figures(*shipped), Figures(imported->yaml)) << name;
    ++compared;
  }
  EXPECT_GE(compared, 20);
}

}  // namespace
}  // namespace moecast::test
