#include "sim/cost/features.h"

#include <algorithm>

namespace moecast {
namespace {

/// A multiply-add is two operations.
constexpr double kFlopsPerMultiplyAdd = 2;
/// Gate, up and down.
constexpr double kSwigluMatrices = 3;

double Product(int64_t a, int64_t b) { return static_cast<double>(a) * static_cast<double>(b); }

}  // namespace

OpFeatures Features(const Gemm& op) {
  const double batch = static_cast<double>(op.batch);
  const double weights = Product(op.n, op.k) * op.format->bytes_per_element();
  const double activations = Product(op.rows, op.n + op.k) * op.activation_bytes;
  return {.bytes = Bytes(batch * (weights + activations)),
          .flops = Flops(kFlopsPerMultiplyAdd * batch * Product(op.rows, op.n) *
                         static_cast<double>(op.k)),
          .compute = op.format->compute};
}

OpFeatures Features(const RouteTokens& op) {
  const double scores = static_cast<double>(op.experts) * sizeof(float);
  const double choices = static_cast<double>(op.top_k) * (sizeof(float) + sizeof(int32_t));
  return {.bytes = Bytes(static_cast<double>(op.rows) * (scores + choices))};
}

OpFeatures Features(const DecodeAttention& op) {
  return {.bytes = Bytes(static_cast<double>(op.context) * op.kv_bytes_per_token +
                         static_cast<double>(op.sequences) * op.query_bytes_per_token),
          .flops = Flops(static_cast<double>(op.context) * op.flops_per_context_token)};
}

OpFeatures Features(const PrefillAttention& op) {
  return {.bytes = Bytes(static_cast<double>(op.context) * op.kv_bytes_per_token +
                         static_cast<double>(op.tokens) * op.query_bytes_per_token),
          .flops = Flops(op.pairs * op.flops_per_pair)};
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
  const double hidden_bytes = static_cast<double>(op.hidden) * op.activation_bytes;
  const double intermediate_bytes = static_cast<double>(op.intermediate) * op.activation_bytes;
  // An assignment gathers its input. Its buffers hold gate-up, written and read; their product,
  // written and read; and the output, written and read by the combine.
  const double buffers = (2 * 2 + 2) * intermediate_bytes + 2 * hidden_bytes;
  return {.bytes_per_expert = kSwigluMatrices * matrix * op.format->bytes_per_element(),
          .bytes_per_assignment = hidden_bytes + (op.tokens_replicated ? 0 : buffers),
          .bytes_per_layer_assignment = op.tokens_replicated ? buffers : 0,
          .flops_per_padded_row = kFlopsPerMultiplyAdd * kSwigluMatrices * matrix};
}

OpFeatures Features(const ExpertGemm& op, const ExpertLoad& load, double layer_assignments) {
  const ExpertUnits units = UnitsOf(op);
  return {.bytes = Bytes(load.distinct * units.bytes_per_expert +
                         load.assignments * units.bytes_per_assignment +
                         layer_assignments * units.bytes_per_layer_assignment),
          .flops = Flops(load.padded_rows * units.flops_per_padded_row),
          .compute = op.format->compute};
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
