#include "scenarios/similarity_file.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>
#include <string>
#include <tuple>

#include "sim/base/lines.h"

namespace moecast {
namespace {

constexpr std::string_view kHeader = "layer,expert,replacement,similarity";
constexpr size_t kColumns = 4;

/// One line of the file and what to call it.
struct LineReader {
  const std::filesystem::path& file;
  int64_t number = 0;
  std::vector<std::string_view> cells = {};

  [[nodiscard]] Error Bad(const std::string& what) const {
    return {what, file.string() + ":" + std::to_string(number)};
  }
  template <class Number>
  Result<Number> Read(size_t column, const char* name) const {
    Number value{};
    const std::string_view cell = cells[column];
    const auto [end, failure] = std::from_chars(cell.data(), cell.data() + cell.size(), value);
    if (failure != std::errc() || end != cell.data() + cell.size()) {
      return Bad(std::string(name) + ": expected a number, got '" + std::string(cell) + "'");
    }
    return value;
  }
  Result<uint16_t> ReadExpert(size_t column, const char* name, int64_t experts) const {
    SIM_TRY(const int64_t expert, Read<int64_t>(column, name));
    if (expert < 0 || expert >= experts) {
      return Bad(std::string(name) + ": must be from 0 to " + std::to_string(experts - 1) +
                 ", got " + std::to_string(expert));
    }
    return static_cast<uint16_t>(expert);
  }
};

Result<SimilarPair> ParsePair(const LineReader& line, const SimilarityShape& shape) {
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
  SIM_TRY(pair.expert, line.ReadExpert(1, "expert", shape.experts));
  SIM_TRY(pair.replacement, line.ReadExpert(2, "replacement", shape.experts));
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
  LineReader line{.file = file, .number = 1};
  if (TakeLine(text) != kHeader) return line.Bad("expected the header " + std::string(kHeader));
  std::vector<SimilarPair> pairs;
  std::set<std::tuple<int64_t, uint16_t, uint16_t>> seen;
  while (!text.empty()) {
    ++line.number;
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
