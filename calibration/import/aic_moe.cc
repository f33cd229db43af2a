// The MoE tables: the whole fused pipeline of one layer on the rank that is timed.
#include <map>
#include <tuple>

#include "calibration/import/aic_tables.h"
#include "calibration/import/routing_law.h"

namespace moecast::calibration {
namespace {

constexpr std::string_view kPowerLaw = "power_law_";
constexpr int kDraws = 16;  // of a power law: the spread of its mean is a quarter of one draw's

struct MoeColumns {
  explicit MoeColumns(TableFields& fields)
      : source(fields.Need("kernel_source")),
        dtype(fields.Need("moe_dtype")),
        tokens(fields.Need("num_tokens")),
        hidden(fields.Need("hidden_size")),
        intermediate(fields.Need("inter_size")),
        top_k(fields.Need("topk")),
        experts(fields.Need("num_experts")),
        tensor(fields.Need("moe_tp_size")),
        ranks(fields.Need("moe_ep_size")),
        distribution(fields.Need("distribution")),
        latency(fields.Need("latency")) {}
  size_t source, dtype, tokens, hidden, intermediate, top_k, experts, tensor, ranks, distribution,
      latency;
};

/// Loads by (shape, distribution): tables repeat them for every width and format.
class LoadLaw {
 public:
  explicit LoadLaw(int64_t tile_rows) : tile_rows_(tile_rows) {}

  /// Empty for a distribution whose law is not known.
  std::optional<ExpertLoad> Find(const LayerShape& shape, std::string_view distribution) {
    const auto key = std::pair(shape, std::string(distribution));
    if (const auto known = known_.find(key); known != known_.end()) return known->second;
    std::optional<ExpertLoad> load;
    if (distribution == "balanced") {
      load = BalancedLoad(shape, tile_rows_);
    } else if (distribution.starts_with(kPowerLaw)) {
      const std::optional<double> alpha = ParseCell(distribution.substr(kPowerLaw.size()));
      if (alpha && *alpha > 0 && *alpha <= kSteepestLaw && *alpha != 1) {
        load = PowerLawLoad(shape, *alpha, tile_rows_, kDraws);
      }
    }
    known_.emplace(key, load);
    return load;
  }

 private:
  int64_t tile_rows_;
  std::map<std::pair<LayerShape, std::string>, std::optional<ExpertLoad>> known_;
};

bool CheckShape(TableFields& fields, const MoeColumns& columns, const LayerShape& shape) {
  constexpr int64_t kMostExperts = 65534;
  if (shape.experts > kMostExperts) {
    fields.Fail(columns.experts, "at most " + std::to_string(kMostExperts));
  } else if (shape.top_k > shape.experts) {
    fields.Fail(columns.top_k, "at most num_experts");
  } else if (shape.experts % shape.ranks != 0) {
    fields.Fail(columns.ranks, "a divisor of num_experts");
  } else {
    constexpr int64_t kMostTokens = int64_t{1} << 32;
    if (shape.tokens <= kMostTokens) return true;
    fields.Fail(columns.tokens, "at most " + std::to_string(kMostTokens));
  }
  return false;
}

void FillFeatures(const LayerShape& shape, const ExpertLoad& load, const AicFormat& format,
                  KernelRow& row) {
  using enum Feature;
  constexpr double kMatrices = 3;  // gate, up, down
  KernelFeatures& f = row.features;
  f[kTokens] = static_cast<double>(shape.tokens);
  f[kAssignments] = load.assignments;
  f[kDistinct] = load.distinct;
  f[kPaddedRows] = load.padded_rows;
  f[kMaxLoad] = load.max_expert;
  f[kExperts] = static_cast<double>(shape.experts);
  f[kTopK] = static_cast<double>(shape.top_k);
  const double matrix = kMatrices * f[kHidden] * f[kIntermediate];
  f[kBytes] = load.distinct * matrix * format.bytes_per_element;
  f[kFlops] = 2 * load.assignments * matrix;
}

}  // namespace

void ReadAicMoe(const Table& table, const ImportTarget& target, Imported& into, Errors& errors) {
  TableFields fields(table, errors);
  const MoeColumns columns(fields);
  into.files.back().ignored_columns = fields.Unasked();
  LoadLaw law(target.expert_tile_rows);
  fields.EachRow([&] {
    const AicFormat format = AicFormatOf(fields.Text(columns.dtype));
    const LayerShape shape{.tokens = fields.Whole(columns.tokens, 1),
                           .experts = fields.Whole(columns.experts, 1),
                           .top_k = fields.Whole(columns.top_k, 1),
                           .ranks = fields.Whole(columns.ranks, 1)};
    if (!CheckShape(fields, columns, shape)) return;
    KernelRow row = AicRow(fields, target, "experts");
    row.features[Feature::kHidden] = static_cast<double>(fields.Whole(columns.hidden, 1));
    row.features[Feature::kIntermediate] =
        static_cast<double>(fields.Whole(columns.intermediate, 1)) /
        static_cast<double>(fields.Whole(columns.tensor, 1));
    row.time_ns = fields.Positive(columns.latency) * kNsPerMs;
    if (format.name.empty()) {
      LeaveOut(into,
               "weight format '" + std::string(fields.Text(columns.dtype)) + "' is not known");
      return;
    }
    const std::string distribution(fields.Text(columns.distribution));
    const std::optional<ExpertLoad> load = law.Find(shape, distribution);
    if (!load) {
      LeaveOut(into, "the law of distribution '" + distribution + "' is not known");
      return;
    }
    FillFeatures(shape, *load, format, row);
    // A rank of several gathers from and scatters to tokens that are not its own.
    row.variant = std::string(fields.Text(columns.source)) + (shape.ranks > 1 ? "_ep" : "");
    row.format = format.name;
    row.label = distribution + ", " + std::to_string(shape.tokens) + " tokens, " +
                std::to_string(shape.ranks) + " ranks";
    AddRow(into, std::move(row), format.compute, target.device);
  });
}

}  // namespace moecast::calibration
