// Parameter and KV counts of 34 published configurations against an independent normaliser's table.
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "sim/model/model_spec.h"
#include "tests/sim/model/model_builders.h"

namespace moecast {
namespace {

namespace fs = std::filesystem;
using Row = std::map<std::string, std::string>;

const fs::path& Folder() {
  static const fs::path folder = fs::path(MOECAST_SHARED_DATA) / "hf_configs";
  return folder;
}

std::vector<std::string> Fields(const std::string& line) {
  std::vector<std::string> fields;
  std::istringstream stream(line);
  for (std::string field; std::getline(stream, field, ',');) fields.push_back(field);
  return fields;
}

std::vector<Row> ReadTable() {
  std::ifstream file(Folder() / "shapes.csv");
  std::string line;
  std::getline(file, line);
  const std::vector<std::string> names = Fields(line);
  std::vector<Row> rows;
  while (std::getline(file, line)) {
    const std::vector<std::string> fields = Fields(line);
    Row row;
    for (size_t i = 0; i + 1 < names.size(); ++i) row[names[i]] = fields.at(i);
    rows.push_back(row);
  }
  return rows;
}

int64_t Int(const Row& row, const std::string& name) {
  const std::string& text = row.at(name);
  return text.empty() ? 0 : std::stoll(text);
}

/// "128+64/128": query width without and with rotary embedding, value width.
MlaAttention MlaOf(const Row& row) {
  const std::string& dims = row.at("head_dim");
  MlaAttention mla{.heads = Int(row, "heads"),
                   .q_lora_rank = std::nullopt,
                   .kv_lora_rank = Int(row, "kv_lora"),
                   .qk_nope_head_dim = std::stoll(dims),
                   .qk_rope_head_dim = std::stoll(dims.substr(dims.find('+') + 1)),
                   .v_head_dim = std::stoll(dims.substr(dims.find('/') + 1))};
  if (!row.at("q_lora").empty()) mla.q_lora_rank = Int(row, "q_lora");
  return mla;
}

/// Facts that the table leaves out: tied embeddings, value width, linear attention.
void AddFromConfig(const boost::json::object& config, ModelSpec& model) {
  const auto number = [&](const char* key) { return config.at(key).as_int64(); };
  const auto* tied = config.if_contains("tie_word_embeddings");
  model.tied_embeddings = tied != nullptr && tied->as_bool();
  if (config.contains("v_channels")) {
    auto& gqa = std::get<GqaAttention>(model.attention);
    gqa.head_dim = number("qk_nope_dim") + number("qk_rope_dim");
    gqa.value_head_dim = number("v_channels");
  }
  if (config.contains("full_attention_interval")) {
    model.attention_output_gate = true;
    model.linear_attention = LinearAttention{.key_heads = number("linear_num_key_heads"),
                                             .value_heads = number("linear_num_value_heads"),
                                             .key_head_dim = number("linear_key_head_dim"),
                                             .value_head_dim = number("linear_value_head_dim"),
                                             .conv_width = number("linear_conv_kernel_dim")};
    const auto interval = static_cast<size_t>(number("full_attention_interval"));
    for (size_t i = 0; i < model.layers.size(); ++i) {
      if ((i + 1) % interval != 0) model.layers[i].attention = AttentionKind::kLinear;
    }
  }
}

ModelSpec ModelOf(const Row& row) {
  ModelSpec model;
  model.name = row.at("name");
  model.hidden = Int(row, "hidden");
  model.vocabulary = Int(row, "vocab");
  if (row.at("kv_heads") == "MLA") {
    model.attention = MlaOf(row);
  } else {
    model.attention = GqaAttention{.heads = Int(row, "heads"),
                                   .kv_heads = Int(row, "kv_heads"),
                                   .head_dim = Int(row, "head_dim"),
                                   .value_head_dim = Int(row, "head_dim")};
  }
  model.dense_intermediate = Int(row, "dense_inter");
  model.moe = MoeSpec{.experts = Int(row, "experts"),
                      .top_k = Int(row, "topk"),
                      .expert_intermediate = Int(row, "expert_inter"),
                      .shared_experts = Int(row, "shared"),
                      .shared_intermediate = Int(row, "shared_inter")};
  model.layers.assign(static_cast<size_t>(Int(row, "layers")), LayerSpec{});
  for (size_t i = static_cast<size_t>(Int(row, "dense_layers")); i < model.layers.size(); ++i) {
    model.layers[i].feed_forward = FeedForwardKind::kMoe;
  }
  model.formats = test::AllBf16();
  std::ifstream file(Folder() / (model.name + ".json"));
  std::stringstream text;
  text << file.rdbuf();
  const boost::json::value parsed = boost::json::parse(text.str());
  const auto& top = parsed.as_object();
  AddFromConfig(top.contains("text_config") ? top.at("text_config").as_object() : top, model);
  return model;
}

TEST(PublishedShapes, ParametersAndKvElementsEqualTheIndependentTable) {
  if (!fs::exists(Folder() / "shapes.csv")) GTEST_SKIP() << "needs " << Folder() / "shapes.csv";
  const std::vector<Row> rows = ReadTable();
  ASSERT_EQ(rows.size(), 34u);
  for (const Row& row : rows) {
    SCOPED_TRACE(row.at("name"));
    const ModelSpec model = ModelOf(row);
    const ParameterCount count = CountParameters(model);
    // The table rounds to 1e7 parameters.
    EXPECT_NEAR(count.total / 1e9, std::stod(row.at("total_B")), 0.00501);
    EXPECT_NEAR(count.active / 1e9, std::stod(row.at("active_B")), 0.00501);
    EXPECT_EQ(KvElementsPerTokenLayer(model), Int(row, "kv_elems_per_tok_layer"));
  }
}

}  // namespace
}  // namespace moecast
