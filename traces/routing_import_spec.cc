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

void ReadRecordedRanks(YamlFields& fields, RoutingHeader& header) {
  if (!fields.Has("recorded_ranks")) return;
  const WholeRange range = {header.top_k, header.experts};
  header.further_ranks = static_cast<int32_t>(fields.Whole("recorded_ranks", range)) - header.top_k;
}

/// Either the sequences say which of their tokens are prompt, or `phase` speaks for all.
void ReadPhase(YamlFields& fields, RoutingImport& import) {
  const bool split = !import.sequences.empty() && import.sequences.front().prompt_tokens;
  if (!split) {
    import.phase = static_cast<RoutingPhase>(fields.OneOf("phase", {"prefill", "decode"}));
  } else if (fields.Has("phase")) {
    fields.Fail("phase", "is given beside sequences.csv.prompt_tokens, which tells the phases");
  } else if (import.layout == RawLayout::kLayerTokenK) {
    fields.Fail("ids", "has layout layer_token_k, whose blocks have one phase: no prompt_tokens");
  }
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
  fields.AllowOnly({"source", "model", "experts", "top_k", "recorded_ranks", "moe_layers", "phase",
                    "ids", "scores", "sequences"});
  import.header.source = fields.Text("source");
  ReadRoutingShape(fields, import.header);
  ReadRecordedRanks(fields, import.header);
  ReadIds(fields, folder, import);
  ReadScores(fields, folder, import);
  YamlFields sequences = fields.Mapping("sequences");
  import.sequences = ReadSequences(sequences, folder, options.drop, errors);
  ReadPhase(fields, import);
  if (errors.empty()) {
    const Status header = CheckHeader(import.header);
    if (!header.ok()) errors.push_back({header.errors()[0].message, file});
  }
  if (!errors.empty()) return errors;
  return import;
}

}  // namespace moecast
