#include "scenarios/kv_errors.h"

#include <algorithm>
#include <cmath>

#include "scenarios/cell_reader.h"
#include "scenarios/scenario.h"
#include "sim/base/lines.h"
#include "sim/base/text.h"

namespace moecast {
namespace {

constexpr std::string_view kHeader =
    "scheme,layer,data,head_dim,tokens,group,equivalent_bits,stored_bits,key_error,value_error,"
    "output_error";
constexpr size_t kColumns = 11;
constexpr int64_t kMostHeadDim = 65536;
constexpr std::string_view kAllLayers = "all";

/// What tells the codes of a layer apart.
struct LayerCodes {
  std::string scheme;
  std::string layer;
  double equivalent_bits = 0;
  double stored_bits = 0;
};

std::string CodeName(const KvCode& code) { return code.shared ? "shared" : Fixed(code.bits, 0); }

/// Policies that set bits by layer keep their own name in the table, but for layers that are as
/// their scheme has them.
LayerCodes CodesOf(const KvLayerClass& layers, const KvPolicy& policy) {
  const KvCode& keys = layers.layer.keys.code;
  const KvCode& values = layers.layer.values.code;
  LayerCodes codes{.scheme = layers.scheme,
                   .layer = std::string(kAllLayers),
                   .equivalent_bits = (keys.equivalent_bits() + values.equivalent_bits()) / 2,
                   .stored_bits = (keys.stored_bits() + values.stored_bits()) / 2};
  const auto* asym = std::get_if<AsymKv>(&policy);
  const bool quantised_again = std::holds_alternative<XQuantKv>(policy);
  const bool cut = asym != nullptr && (keys.bits != asym->scheme.layer.keys.code.bits ||
                                       values.bits != asym->scheme.layer.values.code.bits);
  if (quantised_again || cut) {
    codes.scheme = quantised_again ? "xquant" : "asymkv";
    codes.layer = "keys " + CodeName(keys) + " values " + CodeName(values);
  }
  return codes;
}

bool IsNear(double a, double b) {
  constexpr double kRounding = 0.001;  // of the CSV's bits
  return std::abs(a - b) < kRounding;
}

}  // namespace

Result<KvErrors> KvErrors::Parse(std::string_view text, const std::filesystem::path& file) {
  CellReader line{.file = file};
  if (TakeLine(text) != kHeader) return line.Bad("expected the header " + std::string(kHeader));
  KvErrors errors;
  while (!text.empty()) {
    ++line.line;
    line.cells = SplitCells(TakeLine(text));
    if (line.cells.size() != kColumns) {
      return line.Bad("expected " + std::to_string(kColumns) + " cells, got " +
                      std::to_string(line.cells.size()));
    }
    if (line.cells[2] != kData) continue;
    Row row{.scheme = std::string(line.cells[0]), .layer = std::string(line.cells[1])};
    SIM_TRY(row.head_dim, line.ReadWhole(3, "head_dim", 1, kMostHeadDim));
    SIM_TRY(row.equivalent_bits, line.ReadAmount(6, "equivalent_bits"));
    SIM_TRY(row.stored_bits, line.ReadAmount(7, "stored_bits"));
    SIM_TRY(row.output_error, line.ReadAmount(10, "output_error"));
    errors.rows_.push_back(std::move(row));
  }
  return errors;
}

std::optional<double> KvErrors::Of(const Scenario& scenario) const {
  const KvPlan plan = PlanKv(scenario.kv, scenario.model);
  if (plan.stores.size() != 1 || plan.budget || plan.keep_tokens > 0) return std::nullopt;
  const auto* heads = std::get_if<GqaAttention>(&scenario.model.attention);
  double sum = 0;
  int64_t layers = 0;
  for (const KvLayerClass& each : plan.stores.front().classes) {
    const LayerCodes codes = CodesOf(each, scenario.kv);
    const auto row = std::ranges::find_if(rows_, [&](const Row& r) {
      if (r.scheme != codes.scheme || r.layer != codes.layer) return false;
      if (heads == nullptr) return true;  // latents are named, with bits of all their parts
      return r.head_dim == heads->head_dim && r.head_dim == heads->value_head_dim &&
             IsNear(r.equivalent_bits, codes.equivalent_bits) &&
             IsNear(r.stored_bits, codes.stored_bits);
    });
    if (row == rows_.end()) return std::nullopt;
    sum += row->output_error * static_cast<double>(each.layers());
    layers += each.layers();
  }
  if (layers == 0) return std::nullopt;
  return sum / static_cast<double>(layers);
}

}  // namespace moecast
