#include "kernels/harness/reference_data.h"

#include "kernels/harness/csv_table.h"
#include "sim/base/files.h"

namespace moecast::kernels {
namespace {

Result<CsvTable> ReadTable(const std::filesystem::path& path) {
  SIM_TRY(const std::string text, ReadFile(path));
  return ParseCsv(text, path.string());
}

Status ReadRouter(const CsvTable& table, size_t row, ModelShape& model) {
  SIM_TRY(const size_t score, ChoiceAt(table, row, "score", {"softmax", "sigmoid"}));
  SIM_TRY(const size_t normalise, ChoiceAt(table, row, "normalise", {"none", "kept"}));
  SIM_TRY(const size_t biased, ChoiceAt(table, row, "bias", {"0", "1"}));
  SIM_TRY(model.router.groups, CountAt(table, row, "groups"));
  SIM_TRY(model.router.kept_groups, CountAt(table, row, "kept_groups"));
  SIM_TRY(const double scale, NumberAt(table, row, "scale"));
  model.router.score = score == 0 ? ScoreKind::kSoftmax : ScoreKind::kSigmoid;
  model.router.grouping = model.router.groups > 1 ? GroupKind::kLimited : GroupKind::kNone;
  model.router.renormalise = normalise == 0 ? Renormalise::kNone : Renormalise::kKept;
  model.router.scale = static_cast<float>(scale);
  model.biased = biased == 1;
  if (model.shape.experts % model.router.groups != 0 ||
      model.router.kept_groups > model.router.groups)
    return Error{"groups do not divide the experts, or more are kept than there are",
                 table.name + ":" + std::to_string(row + 2)};
  return Ok();
}

}  // namespace

Result<std::vector<ModelShape>> ReadModelShapes(const std::filesystem::path& path) {
  SIM_TRY(const CsvTable table, ReadTable(path));
  SIM_TRY(const size_t name, table.Column("model"));
  std::vector<ModelShape> models;
  for (size_t row = 0; row < table.rows.size(); ++row) {
    ModelShape model{.name = table.rows[row][name], .shape = {}, .router = {}};
    SIM_TRY(model.shape.hidden, CountAt(table, row, "hidden"));
    SIM_TRY(model.shape.intermediate, CountAt(table, row, "intermediate"));
    SIM_TRY(model.shape.experts, CountAt(table, row, "experts"));
    SIM_TRY(model.shape.top_k, CountAt(table, row, "top_k"));
    const Status router = ReadRouter(table, row, model);
    if (!router.ok()) return router.errors();
    models.push_back(std::move(model));
  }
  return models;
}

Result<std::vector<AttentionShape>> ReadAttentionShapes(const std::filesystem::path& path) {
  SIM_TRY(const CsvTable table, ReadTable(path));
  SIM_TRY(const size_t name, table.Column("model"));
  std::vector<AttentionShape> shapes;
  for (size_t row = 0; row < table.rows.size(); ++row) {
    AttentionShape shape{.model = table.rows[row][name]};
    SIM_TRY(shape.hidden, CountAt(table, row, "hidden"));
    SIM_TRY(shape.rope.query_heads, CountAt(table, row, "query_heads"));
    SIM_TRY(shape.rope.key_heads, CountAt(table, row, "key_heads"));
    SIM_TRY(shape.rope.head, CountAt(table, row, "head"));
    SIM_TRY(shape.rope.rotary, CountAt(table, row, "rotary"));
    SIM_TRY(shape.vocabulary, CountAt(table, row, "vocabulary"));
    SIM_TRY(const size_t style, ChoiceAt(table, row, "style", {"neox", "interleaved"}));
    shape.rope.style = style == 0 ? RopeStyle::kNeox : RopeStyle::kInterleaved;
    shapes.push_back(std::move(shape));
  }
  return shapes;
}

Result<std::vector<Projection>> ReadProjections(const std::filesystem::path& path) {
  SIM_TRY(const CsvTable table, ReadTable(path));
  SIM_TRY(const size_t model, table.Column("model"));
  SIM_TRY(const size_t name, table.Column("projection"));
  std::vector<Projection> projections;
  for (size_t row = 0; row < table.rows.size(); ++row) {
    Projection projection{.model = table.rows[row][model], .name = table.rows[row][name]};
    SIM_TRY(projection.outputs, CountAt(table, row, "outputs"));
    SIM_TRY(projection.inputs, CountAt(table, row, "inputs"));
    SIM_TRY(projection.most_tokens, CountAt(table, row, "most_tokens"));
    SIM_TRY(const size_t fp8, ChoiceAt(table, row, "fp8", {"0", "1"}));
    projection.fp8 = fp8 == 1;
    projections.push_back(std::move(projection));
  }
  return projections;
}

Result<CardPeak> ReadCardPeak(const std::filesystem::path& path, const std::string& device_name) {
  SIM_TRY(const CsvTable table, ReadTable(path));
  SIM_TRY(const size_t card, table.Column("card"));
  SIM_TRY(const size_t pattern, table.Column("device_name_contains"));
  for (size_t row = 0; row < table.rows.size(); ++row) {
    if (device_name.find(table.rows[row][pattern]) == std::string::npos) continue;
    CardPeak peak{.name = table.rows[row][card]};
    SIM_TRY(peak.hbm_bytes_per_s, NumberAt(table, row, "hbm_bytes_per_s"));
    SIM_TRY(peak.bf16_flop_per_s, NumberAt(table, row, "bf16_flop_per_s"));
    SIM_TRY(peak.fp8_flop_per_s, NumberAt(table, row, "fp8_flop_per_s"));
    return peak;
  }
  return Error{"no row for a device named '" + device_name + "'", path.string()};
}

}  // namespace moecast::kernels
