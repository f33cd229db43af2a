#include "scenarios/similarity_file.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <string>
#include <tuple>

#include "scenarios/cell_reader.h"
#include "sim/base/lines.h"

namespace moecast {
namespace {

constexpr std::string_view kHeader = "layer,expert,replacement,similarity";
constexpr size_t kColumns = 4;

Result<SimilarPair> ParsePair(const CellReader& line, const SimilarityShape& shape) {
  if (line.cells.size() != kColumns) {
    return line.Bad("expected 4 cells, as in " + std::string(kHeader) + ", got " +
                    std::to_string(line.cells.size()));
  }
  SIM_TRY(const int64_t layer, line.Read<int64_t>(0, "layer"));
  const auto found = std::ranges::find(shape.moe_layers, layer);
  if (found == shape.moe_layers.end()) {
    return line.Bad("layer: " + std::to_string(layer) + " is no MoE layer of the model");
  }
  SimilarPair pair{.moe_layer = found - shape.moe_layers.begin()};
  SIM_TRY(const int64_t expert, line.ReadWhole(1, "expert", 0, shape.experts - 1));
  SIM_TRY(const int64_t replacement, line.ReadWhole(2, "replacement", 0, shape.experts - 1));
  pair.expert = static_cast<uint16_t>(expert);
  pair.replacement = static_cast<uint16_t>(replacement);
  SIM_TRY(const double similarity, line.Read<double>(3, "similarity"));
  if (!std::isfinite(similarity)) return line.Bad("similarity: must be finite");
  pair.similarity = static_cast<float>(similarity);
  if (pair.expert == pair.replacement) {
    return line.Bad("replacement: an expert cannot stand in for itself, " +
                    std::to_string(pair.expert));
  }
  return pair;
}

}  // namespace

Result<std::vector<SimilarPair>> ParseSimilarity(std::string_view text,
                                                 const std::filesystem::path& file,
                                                 const SimilarityShape& shape) {
  CellReader line{.file = file};
  if (TakeLine(text) != kHeader) return line.Bad("expected the header " + std::string(kHeader));
  std::vector<SimilarPair> pairs;
  std::set<std::tuple<int64_t, uint16_t, uint16_t>> seen;
  while (!text.empty()) {
    ++line.line;
    line.cells = SplitCells(TakeLine(text));
    SIM_TRY(const SimilarPair pair, ParsePair(line, shape));
    if (!seen.emplace(pair.moe_layer, pair.expert, pair.replacement).second) {
      return line.Bad("the pair " + std::to_string(pair.expert) + ", " +
                      std::to_string(pair.replacement) + " is given twice for this layer");
    }
    pairs.push_back(pair);
  }
  return pairs;
}

}  // namespace moecast
