// LoadRoutingImport: from the YAML description to a RoutingImport.
#include <utility>

#include "sim/base/files.h"
#include "traces/routing_codec.h"
#include "traces/routing_import.h"
#include "traces/routing_shape_fields.h"
#include "traces/sequence_list.h"
#include "traces/yaml_fields.h"

namespace moecast {
namespace {

std::filesystem::path DataFolder(const std::filesystem::path& description,
                                 const RoutingImportOptions& options) {
  return options.data.empty() ? description.parent_path() : options.data;
}

RawArray ReadArray(YamlFields& fields, const std::filesystem::path& folder) {
  RawArray array;
  array.path = folder / fields.Text("path");
  array.element_bytes = 1 + fields.OneOf("type", {"u8", "u16"});
  return array;
}

void ReadIds(YamlFields& fields, const std::filesystem::path& folder, RoutingImport& import) {
  YamlFields ids = fields.Mapping("ids");
  ids.AllowOnly({"path", "type", "layout", "unknown", "order"});
  import.ids = ReadArray(ids, folder);
  import.layout = static_cast<RawLayout>(ids.OneOf("layout", {"token_layer_k", "layer_token_k"}));
  if (ids.Has("unknown")) {
    const int64_t most = import.ids.element_bytes == 1 ? 0xff : 0xffff;
    import.unknown_id = static_cast<uint16_t>(ids.Whole("unknown", {import.header.experts, most}));
  }
  if (ids.Has("order")) import.rank_by_score = ids.OneOf("order", {"best_first", "any"}) == 1;
  if (import.rank_by_score && !fields.Has("scores")) {
    ids.Fail("order", "is 'any', which needs scores to rank the ids by");
  }
}

void ReadScores(YamlFields& fields, const std::filesystem::path& folder, RoutingImport& import) {
  if (!fields.Has("scores")) return;
  YamlFields scores = fields.Mapping("scores");
  scores.AllowOnly({"path", "type", "unit"});
  import.scores = ReadArray(scores, folder);
  import.header.has_scores = true;
  import.header.score_unit = scores.Positive("unit");
}

}  // namespace

Result<RoutingImport> LoadRoutingImport(const std::filesystem::path& description,
                                        const RoutingImportOptions& options) {
  const std::string file = description.string();
  SIM_TRY(const std::string bytes, ReadFile(description));
  SIM_TRY(const YAML::Node root, LoadYamlMapping(file, bytes));
  const std::filesystem::path folder = DataFolder(description, options);
  Errors errors;
  RoutingImport import;
  YamlFields fields(root, file, "", errors);
  fields.AllowOnly(
      {"source", "model", "experts", "top_k", "moe_layers", "phase", "ids", "scores", "sequences"});
  import.header.source = fields.Text("source");
  ReadRoutingShape(fields, import.header);
  import.phase = static_cast<RoutingPhase>(fields.OneOf("phase", {"prefill", "decode"}));
  ReadIds(fields, folder, import);
  ReadScores(fields, folder, import);
  YamlFields sequences = fields.Mapping("sequences");
  import.sequences = ReadSequences(sequences, folder, options.drop, errors);
  if (errors.empty()) {
    const Status header = CheckHeader(import.header);
    if (!header.ok()) errors.push_back({header.errors()[0].message, file});
  }
  if (!errors.empty()) return errors;
  return import;
}

}  // namespace moecast
