#include "scenarios/import_model.h"

#include <utility>

#include "model.pb.h"
#include "scenarios/catalog.h"
#include "scenarios/convert.h"
#include "scenarios/import_parts.h"
#include "scenarios/tree_edit.h"
#include "scenarios/yaml_print.h"
#include "scenarios/yaml_walk.h"
#include "sim/base/files.h"
#include "traces/formats/json_text.h"

namespace moecast {
namespace {

constexpr size_t kMaxConfigBytes = size_t{16} << 20;

Result<boost::json::object> ParseConfig(std::string_view text, const std::string& file) {
  if (text.size() > kMaxConfigBytes) {
    return Error{.message = "is larger than " + std::to_string(kMaxConfigBytes) + " bytes",
                 .where = file};
  }
  SIM_TRY(boost::json::value root, ParseJsonText(text, file));
  if (!root.is_object()) return Error{.message = "expected a JSON object", .where = file};
  return std::move(root.get_object());
}

pb::Model ReadConfig(ModelConfig& config, const std::string& name) {
  pb::Model out;
  out.set_name(name);
  out.set_hidden_size(config.RequiredInteger({"hidden_size"}));
  out.set_vocabulary_size(config.RequiredInteger({"vocab_size"}));
  out.set_max_positions(config.RequiredInteger({"max_position_embeddings"}));
  const auto tied = config.Bool("tie_word_embeddings");
  if (!tied) config.Infer("tied_embeddings: false, tie_word_embeddings is absent");
  out.set_tied_embeddings(tied.value_or(false));
  const std::vector<LayerSpec> layers = ImportLayers(config);
  WriteLayerRuns(layers, out);
  ImportAttention(config, out);
  ImportFeedForward(config, layers, out);
  const int64_t extra =
      config.Integer({"num_nextn_predict_layers", "num_mtp_modules", "num_mtp_layers"}).value_or(0);
  if (extra > 0) {
    config.Infer("layers: " + std::to_string(extra) + " multi-token-prediction layers left out");
  }
  return out;
}

// The entry's tree: the message, with formats by name in their place.
YamlNode EntryTree(const pb::Model& model, const std::map<std::string, std::string>& formats,
                   const Place& place) {
  YamlNode tree = ToYaml(model);
  YamlNode names = MakeMapping(place);
  for (const auto& [tensors, format] : formats) {
    YamlNode name = MakeScalar(format, place);
    name.key = tensors;
    names.children.push_back(std::move(name));
  }
  names.key = "formats";
  const auto sources = std::find_if(tree.children.begin(), tree.children.end(),
                                    [](const YamlNode& child) { return child.key == "sources"; });
  tree.children.insert(sources, std::move(names));
  return tree;
}

void SetPlaces(YamlNode& node, const Place& place) {
  node.place = place;
  node.key_place = place;
  for (YamlNode& child : node.children) SetPlaces(child, place);
}

// An imported model obeys every rule that a hand-written one does.
void CheckEntry(YamlNode tree, const std::filesystem::path& catalog_folder, Problems& problems) {
  Catalog catalog(catalog_folder);
  TreeEditor editor(catalog, problems);
  editor.Complete(tree, *pb::Model::descriptor(), "model");
  pb::Model message;
  ReadNotes notes;
  ReadMessage(tree, message, notes, problems);
  if (problems.none()) ConvertModel(message, {.places = notes.places, .problems = problems});
}

}  // namespace

Result<ImportedModel> ParseModelConfig(std::string_view text,
                                       const std::filesystem::path& config_file,
                                       const std::string& name,
                                       const std::filesystem::path& catalog) {
  SIM_TRY(boost::json::object root, ParseConfig(text, config_file.string()));
  Problems problems;
  ModelConfig config(std::move(root), config_file.string(), problems);
  if (config.model_type().empty()) {
    config.Problem("model_type", "is missing; without it the other keys are ambiguous");
  }
  pb::Model model = ReadConfig(config, name);
  const std::map<std::string, std::string> formats = ImportFormats(config);
  if (!problems.none()) return problems.Take();
  (*model.mutable_sources())["all"] = "imported from " + config_file.filename().string() +
                                      ", model_type " + config.model_type() + ", sha256 " +
                                      Sha256(text);
  const Place place{.source = config_file.string()};
  YamlNode tree = EntryTree(model, formats, place);
  SetPlaces(tree, place);
  CheckEntry(tree, catalog, problems);
  if (!problems.none()) return problems.Take();
  return ImportedModel{.yaml = PrintYaml(tree), .inferred = config.inferred()};
}

Result<ImportedModel> ImportModel(const std::filesystem::path& config, const std::string& name,
                                  const std::filesystem::path& catalog) {
  SIM_TRY(const std::string text, ReadFile(config));
  return ParseModelConfig(text, config, name, catalog);
}

}  // namespace moecast
