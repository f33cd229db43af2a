#include "scenarios/sensitivity_file.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "scenarios/cell_reader.h"
#include "sim/base/lines.h"

namespace moecast {
namespace {

constexpr std::string_view kHeader = "layer,k,loss";
constexpr size_t kColumns = 3;

}  // namespace

Result<std::vector<std::vector<double>>> ParseSensitivity(std::string_view text,
                                                          const std::filesystem::path& file,
                                                          std::span<const int32_t> moe_layers,
                                                          int64_t top_k) {
  CellReader line{.file = file};
  if (TakeLine(text) != kHeader) return line.Bad("expected the header " + std::string(kHeader));
  std::vector<std::vector<double>> loss(
      moe_layers.size(),
      std::vector<double>(static_cast<size_t>(top_k), std::numeric_limits<double>::quiet_NaN()));
  while (!text.empty()) {
    ++line.line;
    line.cells = SplitCells(TakeLine(text));
    if (line.cells.size() != kColumns) {
      return line.Bad("expected 3 cells, as in " + std::string(kHeader) + ", got " +
                      std::to_string(line.cells.size()));
    }
    SIM_TRY(const int64_t layer, line.Read<int64_t>(0, "layer"));
    const auto found = std::ranges::find(moe_layers, layer);
    if (found == moe_layers.end()) {
      return line.Bad("layer: " + std::to_string(layer) + " is no MoE layer of the trace");
    }
    SIM_TRY(const int64_t k, line.ReadWhole(1, "k", 1, top_k));
    SIM_TRY(const double value, line.Read<double>(2, "loss"));
    if (!std::isfinite(value)) return line.Bad("loss: must be finite");
    double& cell =
        loss[static_cast<size_t>(found - moe_layers.begin())][static_cast<size_t>(k - 1)];
    if (!std::isnan(cell)) return line.Bad("k: the loss of this layer and k is given twice");
    cell = value;
  }
  for (size_t layer = 0; layer < loss.size(); ++layer) {
    const auto missing = std::ranges::find_if(loss[layer], [](double l) { return std::isnan(l); });
    if (missing == loss[layer].end()) continue;
    return Error{"layer " + std::to_string(moe_layers[layer]) +
                     " has no loss for k = " + std::to_string(missing - loss[layer].begin() + 1),
                 file.string()};
  }
  return loss;
}

}  // namespace moecast
