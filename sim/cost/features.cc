#include "sim/cost/features.h"

#include <algorithm>

namespace moecast {
namespace {

/// A multiply-add is two operations.
constexpr double kFlopsPerMultiplyAdd = 2;
/// Gate, up and down.
constexpr double kSwigluMatrices = 3;

double Product(int64_t a, int64_t b) { return static_cast<double>(a) * static_cast<double>(b); }

OpFeatures Work(double bytes, double flops, const TensorFormat& format) {
  return {.bytes = Bytes(bytes),
          .flops = Flops(flops),
          .compute = format.compute,
          .otherwise = format.otherwise,
          .expanded = format.expanded,
          .expanded_rate = format.expanded_rate};
}

}  // namespace

OpFeatures Features(const Gemm& op) {
  const double batch = static_cast<double>(op.batch);
  const double weights = Product(op.n, op.k) * op.format->bytes_per_element() *
                         op.read.touched(static_cast<double>(op.rows));
  const double inputs = Product(op.rows, op.k) * op.format->input_bytes(op.activation_bytes);
  const double outputs = Product(op.rows, op.n) * op.activation_bytes;
  return Work(batch * (weights + inputs + outputs),
              kFlopsPerMultiplyAdd * batch * Product(op.rows, op.n) * static_cast<double>(op.k) *
                  op.read.used(),
              *op.format);
}

OpFeatures Features(const ExtraWork& op) {
  const double rows = static_cast<double>(op.rows);
  return Work(
      op.what->weights * op.what->format.bytes_per_element() + rows * op.what->bytes_per_row,
      rows * op.what->flops_per_row, op.what->format);
}

OpFeatures Features(const RouteTokens& op) {
  const double scores = static_cast<double>(op.experts) * sizeof(float);
  const double choices = static_cast<double>(op.top_k) * (sizeof(float) + sizeof(int32_t));
  return {.bytes = Bytes(static_cast<double>(op.rows) * (scores + choices))};
}

OpFeatures Features(const DecodeAttention& op) {
  return {.bytes = Bytes(static_cast<double>(op.context) * op.kv_bytes_per_token +
                         static_cast<double>(op.sequences) * op.query_bytes_per_token),
          .flops = Flops(static_cast<double>(op.context) * op.flops_per_context_token),
          .narrow_bytes = op.narrow_bytes};
}

OpFeatures Features(const PrefillAttention& op) {
  return {.bytes = Bytes(static_cast<double>(op.context) * op.kv_bytes_per_token +
                         static_cast<double>(op.tokens) * op.query_bytes_per_token),
          .flops = Flops(op.pairs * op.flops_per_pair)};
}

OpFeatures Features(const SelectTokens& op) {
  const double context = static_cast<double>(op.context);
  return {.bytes = Bytes(context * op.bytes_per_context_token),
          .flops = Flops(context * op.flops_per_context_token)};
}

OpFeatures Features(const LinearAttentionScan& op) {
  return {.bytes = Bytes(static_cast<double>(op.sequences) * op.state_bytes_per_sequence +
                         static_cast<double>(op.tokens) * op.bytes_per_token),
          .flops = Flops(static_cast<double>(op.tokens) * op.flops_per_token)};
}

OpFeatures Features(const KvAppend& op) {
  return {.bytes = Bytes(static_cast<double>(op.tokens) * op.bytes_per_token)};
}

OpFeatures Features(const Elementwise& op) {
  return {.bytes = Bytes(static_cast<double>(op.rows) * op.bytes_per_row)};
}

ExpertUnits UnitsOf(const ExpertGemm& op) {
  const double matrix = Product(op.hidden, op.intermediate);
  const double inner_router = Product(op.hidden, op.inner_router_width);
  const double router_bytes = inner_router * op.activation_bytes;
  const double hidden_bytes = static_cast<double>(op.hidden) * op.activation_bytes;
  const double gathered =
      static_cast<double>(op.hidden) * op.format->input_bytes(op.activation_bytes);
  const double intermediate_bytes = static_cast<double>(op.intermediate) * op.activation_bytes;
  // An assignment gathers its input. Its buffers hold gate-up, written and read; their product,
  // written and read; and the output, written and read by the combine.
  const double buffers = (2 * 2 + 2) * intermediate_bytes + 2 * hidden_bytes;
  const TensorFormat& mixed = op.mixed_format != nullptr ? *op.mixed_format : *op.format;
  const double weights = kSwigluMatrices * matrix;
  return {.bytes_per_expert = weights * op.format->bytes_per_element() + router_bytes,
          .bytes_per_mixed_expert = weights * mixed.bytes_per_element() + router_bytes,
          .bytes_per_assignment = gathered + (op.tokens_replicated ? 0 : buffers),
          .bytes_per_layer_assignment = op.tokens_replicated ? buffers : 0,
          .flops_per_padded_row = kFlopsPerMultiplyAdd * (weights * op.read.used() + inner_router)};
}

double ReadShare(const ExpertGemm& op, const ExpertLoad& load) {
  if (op.read.whole() || load.distinct <= 0) return 1;
  return op.read.touched(load.assignments / load.distinct);
}

ExpertFeatures Features(const ExpertGemm& op, const ExpertLoad& load, double layer_assignments) {
  const ExpertUnits units = UnitsOf(op);
  const double share = ReadShare(op, load);
  const double mixed = op.mixed_format != nullptr ? load.mixed_distinct : 0;
  const double mixed_rows = op.mixed_format != nullptr ? load.mixed_padded_rows : 0;
  ExpertFeatures f;
  f.most = Work((load.distinct - mixed) * share * units.bytes_per_expert +
                    load.assignments * units.bytes_per_assignment +
                    layer_assignments * units.bytes_per_layer_assignment,
                (load.padded_rows - mixed_rows) * units.flops_per_padded_row, *op.format);
  if (op.mixed_format != nullptr) {
    f.mixed = Work(mixed * share * units.bytes_per_mixed_expert,
                   mixed_rows * units.flops_per_padded_row, *op.mixed_format);
  }
  return f;
}

double MeanFullestRows(const ExpertExchange& op) {
  const auto ranks = static_cast<size_t>(op.ranks);
  const size_t layers = op.loads.size() / ranks;
  double rows = 0;
  for (size_t layer = 0; layer < layers; ++layer) {
    const ExpertLoad* load = op.loads.data() + layer * ranks;
    double fullest = 0;
    for (size_t rank = 0; rank < ranks; ++rank) {
      fullest = load[rank].assignments > fullest ? load[rank].assignments : fullest;
    }
    rows += std::min(fullest, op.row_cap);
  }
  return rows / static_cast<double>(layers);
}

}  // namespace moecast
